import { useId } from "preact/hooks";

/** A button that explains a word beside it. The explanation closes with Escape, or with a click elsewhere. */
export function Explain({ name, children }: { name: string; children: string }) {
  const id = useId();
  const place = (event: Event) => {
    const box = event.currentTarget as HTMLElement;
    const button = document.querySelector(`[popovertarget="${id}"]`)?.getBoundingClientRect();
    if (!button || (event as ToggleEvent).newState !== "open") return;
    const { clientWidth, clientHeight } = document.documentElement;
    const left = Math.min(button.left, clientWidth - box.offsetWidth - 12);
    const isBelow = button.bottom + box.offsetHeight + 12 < clientHeight;
    box.style.left = `${Math.max(12, left)}px`;
    box.style.top = `${isBelow ? button.bottom + 6 : Math.max(12, button.top - box.offsetHeight - 6)}px`;
  };
  return (
    <>
      <button type="button" class="explain" popovertarget={id} aria-label={`What is ${name}?`}>
        ?
      </button>
      <div id={id} class="explanation" popover="auto" onToggle={place}>
        {children}
      </div>
    </>
  );
}
