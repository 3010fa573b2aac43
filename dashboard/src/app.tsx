import type { ComponentType } from "preact";
import { useEffect, useState } from "preact/hooks";
import { keyWanted } from "./api/key";
import { address } from "./lib/location";
import { Connection } from "./ui/connection";
import { KeyDialog } from "./ui/key-dialog";
import { ThemeSwitch } from "./ui/theme-switch";
import Now from "./views/now/now";

interface View {
  path: string;
  name: string;
  /** Loads the view; the first one is a part of the page. */
  load: () => Promise<{ default: ComponentType }>;
}

const VIEWS: readonly View[] = [
  { path: "/", name: "Now", load: async () => ({ default: Now }) },
  { path: "/keywords", name: "Keywords", load: () => import("./views/keywords/keywords") },
  { path: "/compare", name: "Compare", load: () => import("./views/compare/compare") },
  { path: "/ask", name: "Ask", load: () => import("./views/ask/ask") },
  { path: "/alerts", name: "Alerts", load: () => import("./views/alerts/alerts") },
];

/** Whether a path is a view of this page. */
export function isView(path: string): boolean {
  return VIEWS.some((view) => view.path === path);
}

/** The page: its header, and the view of the address. */
export function App() {
  const { path } = address.value;
  const view = VIEWS.find((one) => one.path === path);
  useEffect(() => {
    document.title = `${view?.name ?? "Not found"} · emostream`;
  }, [view]);
  return (
    <>
      <a class="skip" href="#main">
        Skip to the content
      </a>
      <header class="top">
        <a class="brand" href="/" aria-label="emostream, now">
          <Mark />
          emostream
        </a>
        <nav aria-label="Views">
          {VIEWS.map((one) => (
            <a key={one.path} href={one.path} aria-current={one.path === path ? "page" : undefined}>
              {one.name}
            </a>
          ))}
        </nav>
        <div class="status">
          <Connection />
          <ThemeSwitch />
          <button
            type="button"
            class="quiet"
            onClick={() => {
              keyWanted.value = "";
            }}
          >
            Key
          </button>
          <a class="docs" href="/docs">
            API
          </a>
        </div>
      </header>
      <main id="main" tabIndex={-1}>
        {view ? <Loaded key={view.path} view={view} /> : <NotFound />}
      </main>
      <KeyDialog />
    </>
  );
}

/** A view, as soon as its part of the program is there. */
function Loaded({ view }: { view: View }) {
  const [Component, setComponent] = useState<ComponentType | null>(view.path === "/" ? () => Now : null);
  const [hasFailed, setFailed] = useState(false);
  useEffect(() => {
    if (view.path === "/") return;
    view.load().then(
      (found) => setComponent(() => found.default),
      () => setFailed(true),
    );
  }, [view]);
  if (hasFailed) {
    return (
      <div class="notice" role="alert">
        <p>A part of the page could not be loaded. The service may have a newer version.</p>
        <button type="button" onClick={() => location.reload()}>
          Reload
        </button>
      </div>
    );
  }
  return Component && <Component />;
}

function NotFound() {
  return (
    <>
      <h1 tabIndex={-1}>There is no such view</h1>
      <p class="headline">
        <a href="/">Go to what people feel now</a>
      </p>
    </>
  );
}

function Mark() {
  return (
    <svg class="mark" viewBox="0 0 32 32" aria-hidden="true">
      <g fill="none" stroke-width="6">
        <path class="mark-a" d="M16 5a11 11 0 0 1 9.5 16.5" />
        <path class="mark-b" d="M24.6 22.9a11 11 0 0 1-17.2 0" />
        <path class="mark-c" d="M6.5 21.5A11 11 0 0 1 14.2 5.1" />
      </g>
    </svg>
  );
}
