import { SPAN_NAMES, SPANS, type Span } from "../lib/spans";

interface Props {
  span: Span;
  until: number | null;
  onChange: (changes: { span?: Span; until?: number | null }) => void;
}

const when = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" });

/** Chooses a span, and whether it ends now or at a fixed time. */
export function SpanPicker({ span, until, onChange }: Props) {
  return (
    <div class="span-picker">
      <fieldset class="segments">
        <legend class="visually-hidden">Span</legend>
        {SPANS.map((one) => (
          <label key={one}>
            <input
              type="radio"
              name="span"
              value={one}
              checked={one === span}
              onChange={() => onChange({ span: one })}
            />
            <span>
              {one}
              <span class="visually-hidden"> ({SPAN_NAMES[one]})</span>
            </span>
          </label>
        ))}
      </fieldset>
      <button
        type="button"
        aria-pressed={until !== null}
        title={until === null ? "Keep the view at this moment" : "Follow again"}
        onClick={() => onChange({ until: until === null ? Math.floor(Date.now() / 1000) * 1000 : null })}
      >
        {until === null ? "Freeze" : `Until ${when.format(until)}`}
      </button>
    </div>
  );
}
