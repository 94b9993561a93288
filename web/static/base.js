// What every page has: the reader's locale, the theme, live parts and htmx's security token.

import { refresh, watch } from "./live.js";
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

// A form that deletes asks in a dialog instead of on a page of its own.
function askFirst(event) {
  const form = event.target;
  const asks = event.submitter?.hasAttribute("formaction") ? event.submitter.formAction : form.action;
  if (new URL(asks).pathname !== "/ui/delete" || form.elements.confirmed) return;
  event.preventDefault();
  event.stopImmediatePropagation();
  const count = new FormData(form).getAll("file_id").length;
  const dialog = document.getElementById("ask");
  document.getElementById("ask-title").textContent =
    count === 1 ? "Delete this file?" : `Delete ${count} files?`;
  dialog.onclose = () => {
    if (dialog.returnValue !== "yes") return refresh();
    const confirmed = Object.assign(document.createElement("input"), {
      type: "hidden",
      name: "confirmed",
      value: "yes",
    });
    form.append(confirmed);
    form.requestSubmit(event.submitter);
    confirmed.remove();
  };
  dialog.returnValue = "";
  dialog.showModal();
}

// What the dialog asks about stays as it is until it is answered: a form that was fetched anew
// meanwhile could not be sent any more.
function stayWhileAsking(event) {
  if (document.getElementById("ask").open) event.detail.shouldSwap = false;
}

// Where the service says what is to be replaced by a refusal, as when a file is gone, it is.
function giveWay(event) {
  const { xhr, isError } = event.detail;
  if (!isError || !xhr.getResponseHeader("HX-Retarget")) return;
  event.detail.shouldSwap = true;
  event.detail.isError = false;
}

// What a part of the page could not do is told where what was done is told.
function tellRefusal(event) {
  const page = new DOMParser().parseFromString(event.detail.xhr.responseText, "text/html");
  const told = page.querySelector(".refused")?.textContent.trim();
  const notice = document.createElement("p");
  notice.className = "refused";
  notice.setAttribute("role", "alert");
  notice.textContent = told || `The service answered ${event.detail.xhr.status}.`;
  document.getElementById("notice").replaceChildren(notice);
}

function addToken(event) {
  const token = document.querySelector('meta[name="csrf-token"]')?.content;
  if (token && event.detail.verb !== "get") event.detail.headers["X-CSRF-Token"] = token;
}

startThemes();
forgetNotice();
localize(document);
document.addEventListener("submit", askFirst, { capture: true });
document.addEventListener("htmx:configRequest", addToken);
document.addEventListener("htmx:beforeSwap", giveWay);
document.addEventListener("htmx:beforeSwap", stayWhileAsking);
document.addEventListener("htmx:responseError", tellRefusal);
document.addEventListener("htmx:afterSwap", () => localize(document));
document.addEventListener("htmx:historyRestore", () => localize(document));
watch();
