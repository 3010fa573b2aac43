import { useEffect, useRef } from "preact/hooks";
import { forgetKey, keepKey, key, keyWanted } from "../api/key";

/** Asks for an API key when the service wants one, or when the reader opens it. */
export function KeyDialog() {
  const dialog = useRef<HTMLDialogElement>(null);
  const reason = keyWanted.value;
  useEffect(() => {
    if (reason !== null && !dialog.current?.open) dialog.current?.showModal();
    if (reason === null) dialog.current?.close();
  }, [reason]);
  const leave = () => {
    keyWanted.value = null;
  };
  const submit = (event: SubmitEvent) => {
    event.preventDefault();
    const form = new FormData(event.currentTarget as HTMLFormElement);
    const value = String(form.get("key") ?? "").trim();
    if (value) keepKey(value, form.has("remember"));
    (event.currentTarget as HTMLFormElement).reset();
  };
  return (
    <dialog ref={dialog} class="dialog" aria-labelledby="key-title" onCancel={leave}>
      <form onSubmit={submit}>
        <h2 id="key-title">API key</h2>
        <p>{reason || "The service needs a key on any address but this machine's."}</p>
        <p class="muted">
          An operator makes one with <code>emostream keys add dashboard --scope read --scope live --scope query</code>,
          and adds <code>--scope follow --scope alerts</code> for those who may follow keywords and change rules.
        </p>
        <label class="field">
          Key
          <input name="key" type="password" autocomplete="off" spellcheck={false} required maxLength={200} />
        </label>
        <label class="check">
          <input name="remember" type="checkbox" /> Remember it on this device
        </label>
        <div class="actions">
          {key.value !== null && (
            <button type="button" class="quiet" onClick={forgetKey}>
              Forget key
            </button>
          )}
          <button type="button" onClick={leave}>
            Cancel
          </button>
          <button type="submit" class="primary">
            Use key
          </button>
        </div>
      </form>
    </dialog>
  );
}
