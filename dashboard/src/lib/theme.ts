import { effect, signal } from "@preact/signals";

export const THEMES = ["system", "light", "dark"] as const;
export type Theme = (typeof THEMES)[number];

const NAME = "emostream.theme";

/** The theme that the reader has chosen. */
export const theme = signal<Theme>(THEMES.find((one) => one === document.documentElement.dataset.theme) ?? "system");

/** The look of the page, for what is drawn on a canvas. It changes with the theme, and with the size of the window. */
export const colours = signal(readColours());

/** Colours are "#rrggbb". */
export interface Colours {
  ink: string;
  muted: string;
  line: string;
  paper: string;
  isDark: boolean;
  /** How much larger texts are than on a desk: the root's font size over 16 px. */
  scale: number;
}

/** Keep the page, the storage and the colours in step with the theme. Call it once. */
export function startTheme(): void {
  effect(() => {
    if (theme.value === "system") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = theme.value;
    try {
      localStorage.setItem(NAME, theme.value);
    } catch {
      // Storage may be forbidden: then the theme lasts as long as the page.
    }
    colours.value = readColours();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    colours.value = readColours();
  });
  addEventListener("resize", () => {
    const found = readColours();
    if (found.scale !== colours.peek().scale) colours.value = found;
  });
}

function readColours(): Colours {
  const probe = document.createElement("i");
  document.body.append(probe);
  const read = (name: string) => {
    probe.style.color = `var(${name})`;
    const parts = getComputedStyle(probe).color.match(/\d+/g)?.slice(0, 3) ?? [];
    return `#${parts.map((part) => Number(part).toString(16).padStart(2, "0")).join("")}`;
  };
  const [ink, muted, line, paper] = [read("--ink"), read("--muted"), read("--line"), read("--card")];
  probe.remove();
  const scale = Number.parseFloat(getComputedStyle(document.documentElement).fontSize) / 16;
  return { ink, muted, line, paper, isDark: Number.parseInt(paper.slice(1, 3), 16) < 128, scale };
}
