/** Sorting of tables. Pure. */

export interface Sort<C extends string> {
  column: C;
  /** From the largest to the smallest. */
  isDescending: boolean;
}

const collator = new Intl.Collator(undefined, { numeric: true, sensitivity: "base" });

/** Returns rows in the order of a value. Equal ones keep their order; unknown ones (null) come last in both directions. */
export function sorted<R>(rows: readonly R[], value: (row: R) => number | string | null, isDescending: boolean): R[] {
  return [...rows].sort((one, other) => {
    const [a, b] = [value(one), value(other)];
    if (a === null || b === null) return Number(a === null) - Number(b === null);
    const order = typeof a === "number" && typeof b === "number" ? a - b : collator.compare(String(a), String(b));
    return isDescending ? -order : order;
  });
}

/** Returns the sort after a click on the head of a column: numbers begin with the largest, texts with the first. */
export function clicked<C extends string>(sort: Sort<C>, column: C, isText: boolean): Sort<C> {
  if (sort.column === column) return { column, isDescending: !sort.isDescending };
  return { column, isDescending: !isText };
}

/** Returns the rows whose names have a text in them: first those that begin with it, each in their order. */
export function matching<R>(rows: readonly R[], name: (row: R) => string, text: string): R[] {
  const wanted = text.trim().toLocaleLowerCase();
  if (!wanted) return [...rows];
  const place = (row: R) => name(row).toLocaleLowerCase().indexOf(wanted);
  const found = rows.filter((row) => place(row) >= 0);
  return [...found.filter((row) => place(row) === 0), ...found.filter((row) => place(row) > 0)];
}
