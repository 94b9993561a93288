// What every page has: the reader's locale, the theme, live parts and htmx's security token.

import { watch } from "./live.js";
import { localize } from "./locale.js";

const THEMES = ["system", "light", "dark"];

function startThemes() {
  const button = document.getElementById("theme");
  const root = document.documentElement;
  const show = () => {
    button.querySelector("span").textContent = `Theme: ${root.dataset.theme ?? "system"}`;
  };
  button.addEventListener("click", () => {
    const next = THEMES[(THEMES.indexOf(root.dataset.theme ?? "system") + 1) % THEMES.length];
    if (next === "system") delete root.dataset.theme;
    else root.dataset.theme = next;
    try {
      localStorage.setItem("theme", next);
    } catch {
      // storage is refused: it holds for this page
    }
    show();
    root.dispatchEvent(new CustomEvent("themechange", { bubbles: true })); // charts draw anew
  });
  show();
  button.hidden = false;
}

// A notice belongs to what was just done, not to the address.
function forgetNotice() {
  if (!document.querySelector(".notice")) return;
  const address = new URL(location.href);
  for (const name of ["deleted", "queued", "gone", "moving", "left"]) {
    address.searchParams.delete(name);
  }
  history.replaceState(history.state, "", address);
}

startThemes();
forgetNotice();
localize(document);
document.addEventListener("htmx:afterSwap", () => localize(document));
watch();
