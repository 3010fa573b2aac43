import { key, keyWanted } from "./key";
import { Problem, problemOf } from "./problem";
import type { components, paths } from "./schema";

export type Schema = components["schemas"];
export type Window = Schema["Window"];

type Json<R> = R extends { responses: { 200: { content: { "application/json": infer B } } } } ? B : never;
type Operation<P extends keyof paths, M extends "get" | "post"> = paths[P] extends Record<M, infer O> ? O : never;
type QueryOf<O> = O extends { parameters: { query?: infer Q } } ? Q : never;
type PathOf<O> = O extends { parameters: { path: infer V } } ? V : Record<never, never>;
type BodyOf<O> = O extends { requestBody: { content: { "application/json": infer B } } } ? B : never;

interface Options<O> {
  query?: QueryOf<O>;
  path?: PathOf<O>;
  signal?: AbortSignal;
}

/** Returns the answer to a GET request. Raises a `Problem`, or an AbortError if `signal` aborts it. */
export function get<P extends keyof paths>(path: P, options: Options<Operation<P, "get">> = {}) {
  return send<Json<Operation<P, "get">>>("GET", urlOf(path, options), options.signal);
}

/** Returns the answer to a POST request. Raises as `get` does. */
export function post<P extends keyof paths>(
  path: P,
  body: BodyOf<Operation<P, "post">>,
  options: Options<Operation<P, "post">> = {},
) {
  return send<Json<Operation<P, "post">>>("POST", urlOf(path, options), options.signal, body);
}

/** Returns the answer of any address of the service, also of one that the schema does not have. */
export async function send<T>(method: string, url: string, signal?: AbortSignal, body?: unknown): Promise<T> {
  const headers = { Accept: "application/json", ...(body !== undefined && { "Content-Type": "application/json" }) };
  const answer = await request(url, {
    method,
    headers,
    ...(signal && { signal }),
    ...(body !== undefined && { body: JSON.stringify(body) }),
  });
  return (answer.status === 204 ? undefined : await answer.json()) as T;
}

/** Sends a request with the page's key and returns the answer if it is a success. Asks for a key on 401. */
export async function request(url: string, init: RequestInit): Promise<Response> {
  const headers = new Headers(init.headers);
  const sent = key.peek();
  if (sent) headers.set("X-API-Key", sent);
  let answer: Response;
  try {
    answer = await fetch(url, { ...init, headers, credentials: "same-origin" });
  } catch (error) {
    if (init.signal?.aborted) throw error;
    throw new Problem(0, "No connection", "The service cannot be reached.");
  }
  if (answer.ok) return answer;
  const problem = await problemOf(answer);
  // Another request may have brought a new key in the meantime.
  if (problem.status === 401 && sent === key.peek()) keyWanted.value = problem.detail || problem.title;
  throw problem;
}

/** Returns an address: its path with values in place of `{names}`, and its query. */
export function urlOf(path: string, options: { query?: unknown; path?: unknown } = {}): string {
  const values = (options.path ?? {}) as Record<string, unknown>;
  const filled = path.replace(/\{(\w+)(:path)?\}/g, (_, name: string) => encodeURIComponent(String(values[name])));
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries((options.query ?? {}) as Record<string, unknown>)) {
    for (const one of Array.isArray(value) ? value : [value]) {
      if (one !== undefined && one !== null) query.append(name, String(one));
    }
  }
  return query.size ? `${filled}?${query}` : filled;
}
