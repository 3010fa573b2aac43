import { duration } from "../../lib/format";
import type { Incident } from "./types";

const FORMAT = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" });

/** Returns a moment in local time. */
export const when = (moment: string): string => FORMAT.format(Date.parse(moment));

/** Returns how long an incident lasted. */
export function ended({ began, ended: end }: Pick<Incident, "began" | "ended">): string {
  return end ? `ended after ${duration(Date.parse(end) - Date.parse(began))}` : "open";
}
