import { hatchOpacity, type Style } from "../lib/palette";

const LINES = { symbol: "rect", x: [1, 0], y: [1.5, 5.5] };
// One tile of crossed lines. ECharts repeats it in both directions.
const CROSS = "path://M0 0H1L4 3L7 0H8V1L5 4L8 7V8H7L4 5L1 8H0V7L3 4L0 1Z";

interface Hatch {
  symbol: string;
  x: number[];
  y: number[];
  rotation?: number;
  symbolSize?: number;
}

const HATCHES: Record<string, Hatch> = {
  rising: { ...LINES, rotation: -Math.PI / 4 },
  falling: { ...LINES, rotation: Math.PI / 4 },
  level: LINES,
  upright: { ...LINES, rotation: Math.PI / 2 },
  crossed: { symbol: CROSS, x: [9, 0], y: [9, 0] },
  dotted: { symbol: "circle", symbolSize: 0.6, x: [6, 0], y: [6, 0] },
};

const DASHES: Record<string, number[]> = {
  rising: [8, 3],
  falling: [5, 3],
  level: [12, 4],
  upright: [2, 2],
  crossed: [8, 3, 2, 3],
  dotted: [2, 4],
};

/** Returns the hatch of a label's area as ECharts draws it, `scale` times as large as on a desk; null if it has none. */
export function decalOf(style: Style, scale: number): object | null {
  const hatch = HATCHES[style.hatch];
  if (!hatch) return null;
  const ink = [1, 3, 5].map((start) => Number.parseInt(style.ink.slice(start, start + 2), 16));
  const { symbol, x, y, rotation = 0, symbolSize = 1 } = hatch;
  // A row of one pattern is a list in a list.
  const dashArrayX = [x.map((length) => length * scale)];
  const dashArrayY = y.map((length) => length * scale);
  return { symbol, dashArrayX, dashArrayY, rotation, symbolSize, color: `rgba(${ink.join(",")},${hatchOpacity})` };
}

/** Returns how a label's line is drawn: solid, or dashes that tell it apart as the hatch does. */
export function dashOf(style: Style, scale: number): number[] | "solid" {
  return DASHES[style.hatch]?.map((length) => length * scale) ?? "solid";
}
