import { live } from "../live/live";

const NAMES = {
  idle: "Not live",
  connecting: "Connecting",
  live: "Live",
  reconnecting: "Reconnecting",
  stale: "Stale",
  paused: "Paused",
  refused: "Not admitted",
} as const;

const clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit" });

/** Says whether what the page shows is live, and since when it is not. */
export function Connection() {
  const { status, heardAt } = live.value;
  const since = status === "stale" || status === "reconnecting" ? ` since ${clock.format(heardAt)}` : "";
  return (
    <p class="connection" data-status={status} role="status" aria-live="polite">
      <span class="dot" aria-hidden="true" />
      {NAMES[status]}
      {since}
    </p>
  );
}
