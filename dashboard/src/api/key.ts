import { signal } from "@preact/signals";

const NAME = "emostream.key";

/** The API key of this page; null for none. Requests and streams start again when it changes. */
export const key = signal<string | null>(stored(sessionStorageOf()) ?? stored(localStorageOf()));

/** Whether the page asks for a key, and why. */
export const keyWanted = signal<string | null>(null);

/** Use a key: for this tab, or for all visits. */
export function keepKey(value: string, remember: boolean): void {
  forget();
  (remember ? localStorageOf() : sessionStorageOf())?.setItem(NAME, value);
  keyWanted.value = null;
  key.value = value;
}

/** Forget the key everywhere. */
export function forgetKey(): void {
  forget();
  key.value = null;
}

function forget(): void {
  for (const storage of [sessionStorageOf(), localStorageOf()]) storage?.removeItem(NAME);
}

function stored(storage: Storage | null): string | null {
  return storage?.getItem(NAME) || null;
}

// A browser may forbid storage: then a key lives as long as the page.
function sessionStorageOf(): Storage | null {
  try {
    return sessionStorage;
  } catch {
    return null;
  }
}

function localStorageOf(): Storage | null {
  try {
    return localStorage;
  } catch {
    return null;
  }
}
