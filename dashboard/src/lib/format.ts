const integer = new Intl.NumberFormat("en");
const compactNumber = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });

export const count = (value: number): string => integer.format(value);

/** Returns a number in little room: in full below 10,000, and then as "12.3K". */
export const compact = (value: number): string => (value < 10_000 ? count(value) : compactNumber.format(value));

/** Returns a share from 0 to 1 as percent: one digit below 10 %, none above. */
export function percent(share: number): string {
  const value = 100 * share;
  return `${value > 0 && value < 9.95 ? value.toFixed(1) : value.toFixed(0)} %`;
}

/** Returns a text with its first letter in upper case. */
export const capital = (text: string): string =>
  text.replace(/^(\u2068?)(.)/su, (_, isolate: string, first: string) => isolate + first.toLocaleUpperCase("en"));

/** Returns a local time, with the date where the span is longer than a day. */
export function moment(ms: number, spanSeconds: number): string {
  const date: Intl.DateTimeFormatOptions = spanSeconds > 43_200 ? { month: "short", day: "numeric" } : {};
  const time: Intl.DateTimeFormatOptions = spanSeconds >= 90 * 86_400 ? {} : { hour: "2-digit", minute: "2-digit" };
  return new Intl.DateTimeFormat("en-GB", { ...date, ...time }).format(ms);
}

/** Returns how long something is, in its largest unit: "4 s", "12 min", "3 h". */
export function duration(ms: number): string {
  const seconds = Math.max(0, Math.round(ms / 1000));
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  return seconds < 86_400 ? `${Math.floor(seconds / 3600)} h` : `${Math.floor(seconds / 86_400)} d`;
}

/** Returns a sentiment from -1 to 1 with its sign, such as "+0.42". */
export function signed(value: number): string {
  const text = Math.abs(value).toFixed(2);
  return Number(text) === 0 ? text : `${value < 0 ? "−" : "+"}${text}`;
}
