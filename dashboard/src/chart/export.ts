import { drawable, isolated } from "../lib/text";
import type { Colours } from "../lib/theme";
import { FONT } from "./theme";

const RATIO = 2;

/** Returns a picture with a title above what was drawn. */
export function withTitle(drawn: HTMLCanvasElement, title: string, { ink, paper }: Colours): HTMLCanvasElement {
  const picture = document.createElement("canvas");
  const [margin, head] = [20 * RATIO, 52 * RATIO];
  picture.width = drawn.width + 2 * margin;
  picture.height = drawn.height + head + margin;
  const context = picture.getContext("2d");
  if (!context) return drawn;
  context.fillStyle = paper;
  context.fillRect(0, 0, picture.width, picture.height);
  context.fillStyle = ink;
  context.font = `600 ${17 * RATIO}px ${FONT}`;
  context.textBaseline = "middle";
  context.fillText(isolated(title), margin, 30 * RATIO, drawn.width);
  context.drawImage(drawn, margin, head);
  return picture;
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
