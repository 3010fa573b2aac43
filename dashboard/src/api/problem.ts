/** A problem document of the service (RFC 9457), or a failure to reach the service, as an error. */
export class Problem extends Error {
  override readonly name = "Problem";

  /**
   * @param status HTTP status; 0 if the service could not be reached.
   * @param title what kind of problem it is.
   * @param detail one sentence for the reader.
   * @param retryAfterMs when to try again, as the service says; null if it does not.
   */
  constructor(
    readonly status: number,
    readonly title: string,
    readonly detail: string,
    readonly type = "about:blank",
    readonly retryAfterMs: number | null = null,
  ) {
    super(detail || title);
  }

  /** Whether the same request may succeed later without a change. */
  get isPassing(): boolean {
    return [0, 429, 502, 503, 504].includes(this.status);
  }
}

/** Returns the problem that an answer tells. */
export async function problemOf(answer: Response): Promise<Problem> {
  const body: unknown = await answer.json().catch(() => null);
  const found = typeof body === "object" && body !== null ? (body as Record<string, unknown>) : {};
  const text = (name: string, fallback: string) => (typeof found[name] === "string" ? found[name] : fallback);
  return new Problem(
    answer.status,
    text("title", answer.statusText || `HTTP ${answer.status}`),
    text("detail", ""),
    text("type", "about:blank"),
    retryAfter(answer.headers.get("Retry-After"), Date.now()),
  );
}

/** Returns the time of a header `Retry-After` in ms from now: it has seconds or a date. Null for none. */
export function retryAfter(value: string | null, now: number): number | null {
  if (!value) return null;
  const ms = /^\d+$/.test(value.trim()) ? 1000 * Number(value) : Date.parse(value) - now;
  return Number.isNaN(ms) ? null : Math.max(0, ms);
}
