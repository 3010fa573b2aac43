import { HATCH_PATHS, hatchWidth } from "../lib/hatches";
import { hatchOpacity, type Style } from "../lib/palette";
import { drawable, isolated } from "../lib/text";
import type { Colours } from "../lib/theme";
import { FONT } from "./theme";

/** Pixels of a picture for each of the page. */
export const RATIO = 2;

/** One entry of a chart's legend. */
export interface Entry {
  name: string;
  style: Style;
}

/** Returns a picture with a title above what was drawn, and a legend below it. */
export function pictureOf(drawn: HTMLCanvasElement, title: string, legend: readonly Entry[], look: Colours) {
  const picture = document.createElement("canvas");
  const context = picture.getContext("2d");
  if (!context) return drawn;
  const [margin, head, unit] = [20 * RATIO, 52 * RATIO, look.scale * RATIO];
  const font = `${13 * unit}px ${FONT}`;
  context.font = font;
  const places = placesOf(legend, drawn.width, unit, (text) => context.measureText(text).width);
  const rows = (places.at(-1)?.row ?? -1) + 1;
  picture.width = drawn.width + 2 * margin;
  picture.height = head + drawn.height + rows * 22 * unit + 1.5 * margin;
  context.fillStyle = look.paper;
  context.fillRect(0, 0, picture.width, picture.height);
  context.fillStyle = look.ink;
  context.font = `600 ${17 * RATIO}px ${FONT}`;
  context.textBaseline = "middle";
  context.fillText(isolated(title), margin, 30 * RATIO, drawn.width);
  context.drawImage(drawn, margin, head);
  context.font = font;
  for (const { entry, row, x } of places) {
    const y = head + drawn.height + margin / 2 + row * 22 * unit;
    drawSwatch(context, entry.style, margin + x, y, unit);
    context.fillStyle = look.ink;
    context.fillText(isolated(entry.name), margin + x + 18 * unit, y + 6.5 * unit);
  }
  return picture;
}

function placesOf(legend: readonly Entry[], room: number, unit: number, widthOf: (text: string) => number) {
  let [row, x] = [0, 0];
  return legend.map((entry) => {
    const width = widthOf(isolated(entry.name)) + 36 * unit;
    if (x > 0 && x + width > room) [row, x] = [row + 1, 0];
    const place = { entry, row, x };
    x += width;
    return place;
  });
}

function drawSwatch(context: CanvasRenderingContext2D, style: Style, x: number, y: number, unit: number): void {
  context.save();
  context.translate(x, y);
  context.scale(unit, unit);
  context.beginPath();
  context.roundRect(0, 0, 12, 12, 3.5);
  context.clip();
  context.fillStyle = style.colour;
  context.fill();
  context.strokeStyle = style.ink;
  context.globalAlpha = hatchOpacity + 0.2;
  context.lineWidth = hatchWidth(style.hatch);
  context.lineCap = "round";
  context.stroke(new Path2D(HATCH_PATHS[style.hatch] ?? ""));
  context.restore();
}

/** Returns a name of a file that all systems take: letters and digits of any script, and hyphens. */
export function fileName(name: string, extension: string): string {
  const words = drawable(name).match(/[\p{L}\p{M}\p{N}]+/gu) ?? [];
  return `emostream-${words.join("-").slice(0, 80) || "chart"}.${extension}`;
}

/** Let the browser save a file. */
export function save(blob: Blob, name: string): void {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
