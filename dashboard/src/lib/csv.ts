/** A value of a table: null is unknown. */
export type Cell = string | number | null;

export interface Table {
  columns: string[];
  rows: Cell[][];
}

/** Returns the table as CSV (RFC 4180). A text that a spreadsheet would run as a formula gets an apostrophe before it. */
export function toCsv(table: Table): string {
  return `${[table.columns, ...table.rows].map((row) => row.map(field).join(",")).join("\r\n")}\r\n`;
}

function field(value: Cell): string {
  if (value === null) return "";
  if (typeof value === "number") return String(value);
  const safe = /^[=+\-@\t\r]/.test(value) ? `'${value}` : value;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}
