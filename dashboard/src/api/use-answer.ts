import { signal, useSignalEffect } from "@preact/signals";
import { useEffect, useMemo } from "preact/hooks";
import { backoff } from "../live/state";
import { key } from "./key";
import { Problem } from "./problem";

/** The newest answer to a request. Data stay while they are read again, so that nothing flickers. */
export function useAnswer<T>(read: (signal: AbortSignal) => Promise<T>, dependencies: readonly unknown[]) {
  const state = useMemo(() => {
    const data = signal<T | null>(null);
    const problem = signal<Problem | null>(null);
    const loading = signal(true);
    const turn = signal(0);
    return { data, problem, loading, turn, reload: () => void turn.value++ };
  }, []);
  const readNow = useMemo(() => ({ read }), []);
  readNow.read = read;

  useEffect(() => {
    state.data.value = null;
    state.problem.value = null;
    state.reload();
  }, dependencies);

  useSignalEffect(() => {
    void key.value;
    if (!state.turn.value) return;
    const abort = new AbortController();
    let timer = 0;
    let attempt = 0;
    const run = async () => {
      state.loading.value = true;
      try {
        const data = await readNow.read(abort.signal);
        if (abort.signal.aborted) return;
        state.data.value = data;
        state.problem.value = null;
      } catch (error) {
        if (abort.signal.aborted) return;
        if (!(error instanceof Problem)) throw error;
        state.problem.value = error;
        if (error.isPassing) timer = window.setTimeout(run, backoff(attempt++, Math.random(), error.retryAfterMs));
      } finally {
        if (!abort.signal.aborted) state.loading.value = false;
      }
    };
    void run();
    return () => {
      abort.abort();
      clearTimeout(timer);
    };
  });
  return state;
}
