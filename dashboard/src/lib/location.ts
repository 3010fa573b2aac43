import { signal } from "@preact/signals";

/** The address of the view. It is the view's whole state, so that every view can be shared. */
export const address = signal({ path: "/", search: "" });

function read(): void {
  address.value = { path: location.pathname, search: location.search };
}

/** Go to an address of this page. */
export function navigate(url: string, options: { replace?: boolean } = {}): void {
  if (options.replace) history.replaceState(null, "", url);
  else history.pushState(null, "", url);
  read();
}

/** Follow the address, and links to other views. `isView` tells whether a path is a view of this page. */
export function startRouter(isView: (path: string) => boolean): void {
  read();
  addEventListener("popstate", read);
  document.addEventListener("click", (event) => {
    if (event.defaultPrevented || event.button || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey)
      return;
    const link = event.target instanceof Element ? event.target.closest("a") : null;
    if (!link || link.target || link.hasAttribute("download") || link.origin !== location.origin) return;
    if (!isView(link.pathname) || (link.hash && link.pathname === location.pathname)) return;
    event.preventDefault();
    const elsewhere = link.pathname !== location.pathname;
    navigate(link.pathname + link.search);
    if (elsewhere) {
      scrollTo(0, 0);
      // The new view's heading tells a screen reader where it is.
      requestAnimationFrame(() => document.querySelector<HTMLElement>("main h1")?.focus());
    }
  });
}
