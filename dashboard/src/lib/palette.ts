import source from "../palette.json";
import { crc32, utf8 } from "./crc32";

/** What a label looks like: colour of its area, colour of a text or hatch on it, and the hatch's name or "". */
export interface Style {
  colour: string;
  ink: string;
  hatch: string;
}

export const REST = "(other)";

const known = new Map<string, Style>(Object.entries(source.labels));
const others: Style[] = source.others;
const size = others.length / 2;
const order = [...known.keys()].slice(0, [...known.keys()].indexOf("negative"));
export const hatchOpacity: number = source.hatch_opacity;

/** Returns the labels without duplicates: emotions of the bundled model in its order, then the others by name. */
export function labelOrder(labels: Iterable<string>): string[] {
  const rank = (label: string) => (order.includes(label) ? order.indexOf(label) : order.length);
  return [...new Set(labels)].sort((a, b) => rank(a) - rank(b) || (a < b ? -1 : a > b ? 1 : 0));
}

/** Returns the style of each of these labels, which are shown together: `styles_of` of the Python palette. */
export function stylesOf(labels: readonly string[]): Map<string, Style> {
  const slots = slotsOf(labels);
  const styles = new Map<string, Style>();
  for (const label of labels) {
    const style = known.get(label) ?? others[(slots.get(label) ?? 0) % others.length];
    if (style) styles.set(label, style);
  }
  return styles;
}

/** Returns a place for each unknown label: that of its checksum, or the next free one. A turn fills all places. */
function slotsOf(labels: readonly string[]): Map<string, number> {
  const slots = new Map<string, number>();
  for (const label of new Set(labels)) {
    if (known.has(label)) continue;
    const turn = Math.floor(slots.size / size);
    const taken = new Set(slots.values());
    const place = crc32(utf8(label)) % size;
    for (let step = 0; step < size; step++) {
      const slot = turn * size + ((place + step) % size);
      if (taken.has(slot)) continue;
      slots.set(label, slot);
      break;
    }
  }
  return slots;
}

/** Returns the relative luminance of "#rrggbb", from 0 to 1, as WCAG 2.2 defines it. */
export function luminance(colour: string): number {
  const [red, green, blue] = parts(colour).map((part) => {
    const share = part / 255;
    return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * (red ?? 0) + 0.7152 * (green ?? 0) + 0.0722 * (blue ?? 0);
}

/** Returns the contrast ratio of two colours, from 1 to 21. */
export function contrast(one: string, other: string): number {
  const [low, high] = [luminance(one), luminance(other)].sort((a, b) => a - b);
  return ((high ?? 0) + 0.05) / ((low ?? 0) + 0.05);
}

/** Returns the colour, mixed with the ink of the page until it has the contrast that graphics need on the paper. */
export function visibleOn(colour: string, paper: string, ink: string, least = 3): string {
  for (let share = 0; share <= 1; share += 0.05) {
    const mixed = mix(colour, ink, share);
    if (contrast(mixed, paper) >= least) return mixed;
  }
  return ink;
}

function mix(one: string, other: string, share: number): string {
  const [a, b] = [parts(one), parts(other)];
  const hex = a.map((part, index) => Math.round(part + ((b[index] ?? 0) - part) * share));
  return `#${hex.map((part) => part.toString(16).padStart(2, "0")).join("")}`;
}

function parts(colour: string): number[] {
  return [1, 3, 5].map((start) => Number.parseInt(colour.slice(start, start + 2), 16));
}
