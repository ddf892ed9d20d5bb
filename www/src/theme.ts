// Light or dark: the visitor's choice, else the system's.

import { byId } from "./dom.js";
import { loadTheme, saveTheme } from "./store.js";

export function followTheme(): void {
  const prefersDark = matchMedia("(prefers-color-scheme: dark)");
  const apply = (): void => {
    const theme = loadTheme() ?? (prefersDark.matches ? "dark" : "light");
    show(theme);
  };
  apply();
  prefersDark.onchange = apply;
  byId("theme").onclick = () => {
    const theme = document.documentElement.dataset["theme"] === "dark" ? "light" : "dark";
    show(theme);
    saveTheme(theme);
  };
}

function show(theme: "light" | "dark"): void {
  document.documentElement.dataset["theme"] = theme;
  byId("theme").setAttribute("aria-pressed", String(theme === "dark"));
}
