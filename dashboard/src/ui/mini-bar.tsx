import { useId } from "preact/hooks";
import { capital, percent } from "../lib/format";
import { HATCH_PATHS, hatchWidth } from "../lib/hatches";
import { hatchOpacity, labelOrder, type Style } from "../lib/palette";

const WIDTH = 120;
const HEIGHT = 12;

/** The shares of labels as one bar, with their colours and hatches. Screen readers hear the three largest. */
export function MiniBar({ counts, styles }: { counts: Record<string, number>; styles: ReadonlyMap<string, Style> }) {
  const id = useId();
  const total = Object.values(counts).reduce((all, one) => all + one, 0);
  if (!total) return <span class="muted">–</span>;
  let x = 0;
  const parts = labelOrder(Object.keys(counts)).map((label) => {
    const width = (WIDTH * (counts[label] ?? 0)) / total;
    x += width;
    return { label, x: x - width, width };
  });
  const ranked = Object.entries(counts).sort((a, b) => b[1] - a[1]);
  const said = ranked.slice(0, 3).map(([label, one]) => `${label} ${percent(one / total)}`);
  const all = ranked.filter(([, one]) => one).map(([label, one]) => `${capital(label)} ${percent(one / total)}`);
  return (
    <svg
      class="mini-bar"
      viewBox={`0 0 ${WIDTH} ${HEIGHT}`}
      preserveAspectRatio="none"
      role="img"
      aria-label={said.join(", ")}
    >
      <title>{all.join("\n")}</title>
      {parts.map(({ label, x: left, width }, index) => {
        const style = styles.get(label);
        if (!style || !width) return null;
        return (
          <g key={label}>
            {style.hatch && (
              <pattern id={`${id}-${index}`} width="12" height="12" patternUnits="userSpaceOnUse">
                <path
                  d={HATCH_PATHS[style.hatch] ?? ""}
                  stroke={style.ink}
                  stroke-opacity={hatchOpacity + 0.2}
                  stroke-width={hatchWidth(style.hatch)}
                  stroke-linecap="round"
                />
              </pattern>
            )}
            <rect x={left} width={width} height={HEIGHT} fill={style.colour} />
            {style.hatch && <rect x={left} width={width} height={HEIGHT} fill={`url(#${id}-${index})`} />}
          </g>
        );
      })}
    </svg>
  );
}
