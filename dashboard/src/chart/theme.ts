import type { Colours } from "../lib/theme";

export const FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif';

/** Returns what all charts have in common. Tooltips are drawn on the canvas: HTML ones would break the page's CSP. */
export function baseOf({ ink, muted, line, paper, scale }: Colours, isCalm: boolean) {
  return {
    backgroundColor: "transparent",
    animation: !isCalm,
    animationDuration: 500,
    animationDurationUpdate: 300,
    textStyle: { fontFamily: FONT, color: ink, fontSize: 12 * scale },
    tooltip: {
      renderMode: "richText",
      backgroundColor: paper,
      borderColor: line,
      borderWidth: 1,
      padding: [8, 12],
      textStyle: { color: ink, fontFamily: FONT, fontSize: 12 * scale, lineHeight: 18 * scale },
      // The text of a tooltip on the canvas has the size and the colour of this style, and not its family.
      axisPointer: { lineStyle: { color: muted, type: "solid", width: 1 } },
      confine: true,
      transitionDuration: 0,
    },
  };
}

/** Returns the look of an axis. */
export function axisLook({ muted, line, scale }: Colours) {
  return {
    axisLine: { lineStyle: { color: line } },
    axisTick: { show: false },
    axisLabel: { color: muted, fontFamily: FONT, fontSize: 12 * scale, margin: 10 * scale, hideOverlap: true },
    splitLine: { lineStyle: { color: line, width: 1 } },
  };
}
