import { useId } from "preact/hooks";
import { HATCH_PATHS, hatchWidth } from "../lib/hatches";
import { hatchOpacity, type Style } from "../lib/palette";

/** The colour and hatch of a label, as the charts have them. */
export function Swatch({ style }: { style: Style }) {
  const id = useId();
  return (
    <svg class="swatch" viewBox="0 0 12 12" aria-hidden="true">
      <clipPath id={id}>
        <rect width="12" height="12" rx="3.5" />
      </clipPath>
      <g clip-path={`url(#${id})`}>
        <rect width="12" height="12" fill={style.colour} />
        <path
          d={HATCH_PATHS[style.hatch] ?? ""}
          stroke={style.ink}
          stroke-opacity={hatchOpacity + 0.2}
          stroke-width={hatchWidth(style.hatch)}
          stroke-linecap="round"
        />
      </g>
    </svg>
  );
}

/**
 * The same in one element, for lists that change many times a second.
 *
 * The policy of the page forbids styles in HTML. Those that a script sets, as here, are allowed.
 */
export function Patch({ style }: { style: Style }) {
  return (
    <i
      class={`swatch patch ${style.hatch}`}
      aria-hidden="true"
      style={{ backgroundColor: style.colour, color: style.ink }}
    />
  );
}
