import { THEMES, theme } from "../lib/theme";

const NAMES = { system: "Auto", light: "Light", dark: "Dark" } as const;

/** Chooses the theme: the system's, light or dark. */
export function ThemeSwitch() {
  return (
    <label class="theme" title="Theme">
      <span class="visually-hidden">Theme</span>
      <select
        value={theme.value}
        onChange={(event) => {
          theme.value = THEMES.find((one) => one === event.currentTarget.value) ?? "system";
        }}
      >
        {THEMES.map((one) => (
          <option key={one} value={one}>
            {NAMES[one]}
          </option>
        ))}
      </select>
    </label>
  );
}
