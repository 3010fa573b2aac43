import { capital } from "../lib/format";
import { THEMES, theme } from "../lib/theme";

/** Chooses the theme: the system's, light or dark. */
export function ThemeSwitch() {
  return (
    <label class="theme">
      <span class="visually-hidden">Theme</span>
      <select
        value={theme.value}
        onChange={(event) => {
          theme.value = THEMES.find((one) => one === event.currentTarget.value) ?? "system";
        }}
      >
        {THEMES.map((one) => (
          <option key={one} value={one}>
            {capital(one)}
          </option>
        ))}
      </select>
    </label>
  );
}
