import { computed } from "@preact/signals";
import { useMemo } from "preact/hooks";
import { address, navigate } from "./location";

/** How one value of a view is written in the address. `read` gets all values of the name, and never fails. */
export interface Param<T> {
  read(values: string[]): T;
  /** Returns the values to write; none for the default, which the address leaves out. */
  write(value: T): string[];
}

type Params = Record<string, Param<unknown>>;
export type Values<P extends Params> = { [K in keyof P]: P[K] extends Param<infer T> ? T : never };

/** A text of at most `most` characters. */
export function text(fallback: string, most = 200): Param<string> {
  return {
    read: ([value]) => (value?.trim() && value.length <= most ? value.trim() : fallback),
    write: (value) => (value === fallback || !value.trim() ? [] : [value.trim()]),
  };
}

/** Different texts, in their order, at most `most` of them. */
export function texts(most: number, mostChars = 200): Param<string[]> {
  const clean = (values: string[]) => {
    const kept = values.map((value) => value.trim()).filter((value) => value && value.length <= mostChars);
    return [...new Set(kept)].slice(0, most);
  };
  return { read: clean, write: clean };
}

/** One of a few values. */
export function oneOf<const T extends string>(choices: readonly T[], fallback: NoInfer<T>): Param<T> {
  return {
    read: ([value]) => choices.find((choice) => choice === value) ?? fallback,
    write: (value) => (value === fallback ? [] : [value]),
  };
}

/** A moment in ms, written as RFC 3339 in UTC; null for none. */
export const moment: Param<number | null> = {
  read: ([value]) => {
    const isRfc3339 = /^\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:\d\d)$/i.test(value ?? "");
    const ms = isRfc3339 ? Date.parse(value ?? "") : Number.NaN;
    return Number.isNaN(ms) ? null : ms;
  },
  write: (value) => (value === null ? [] : [new Date(value).toISOString().replace(/\.000Z$/, "Z")]),
};

/** Returns the values that an address has. */
export function readParams<P extends Params>(params: P, search: string): Values<P> {
  const found = new URLSearchParams(search);
  const entries = Object.entries(params).map(([name, param]) => [name, param.read(found.getAll(name))]);
  return Object.fromEntries(entries) as Values<P>;
}

/** Returns the query of an address with some values changed; other parameters stay. */
export function writeParams<P extends Params>(params: P, search: string, changes: Partial<Values<P>>): string {
  const found = new URLSearchParams(search);
  for (const [name, value] of Object.entries(changes)) {
    found.delete(name);
    for (const written of params[name]?.write(value) ?? []) found.append(name, written);
  }
  const query = found.toString();
  return query && `?${query}`;
}

/**
 * Returns the parameters of the view's address as a signal, and a function that changes some of them.
 *
 * `params` must be a constant of the module. A change is a new entry of the history unless `replace` is set.
 */
export function useQueryParams<P extends Params>(params: P) {
  return useMemo(() => {
    const values = computed(() => readParams(params, address.value.search));
    const set = (changes: Partial<Values<P>>, options: { replace?: boolean } = {}) =>
      navigate(address.peek().path + writeParams(params, address.peek().search, changes), options);
    return { values, set };
  }, [params]);
}
