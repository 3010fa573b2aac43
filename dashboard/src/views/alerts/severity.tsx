import type { Incident } from "./types";

const SIGNS = { info: "i", warning: "!", critical: "!!" };

/** How urgent an incident is, as a sign and a word; the colour only repeats it. */
export function Severity({ severity }: { severity: Incident["severity"] }) {
  return (
    <span class="severity" data-severity={severity}>
      <span class="sign" aria-hidden="true">
        {SIGNS[severity]}
      </span>
      {severity}
    </span>
  );
}
