import { contrast, type Style, stylesOf, visibleOn } from "./palette";
import type { Colours } from "./theme";

/**
 * Returns the style of each of these labels on the page as it looks now.
 *
 * On light paper it is the palette's. On dark paper, dark colours are lighter, because graphics need a contrast of 3.
 */
export function pageStyles(labels: readonly string[], { isDark, paper, ink }: Colours): Map<string, Style> {
  const styles = stylesOf(labels);
  if (!isDark) return styles;
  for (const [label, style] of styles) {
    const colour = visibleOn(style.colour, paper, ink);
    const inks = ["#22262b", "#ffffff"].sort((a, b) => contrast(b, colour) - contrast(a, colour));
    styles.set(label, { ...style, colour, ink: inks[0] ?? style.ink });
  }
  return styles;
}
