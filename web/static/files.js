// The dashboard: what is chosen stays so while the table is fetched anew, and uploads.

import { startUploads } from "./uploads.js";

const RATES_MS = 15_000; // what was processed in the last minute grows old even where nothing happens

const chosen = new Set();

const boxes = () => [...document.querySelectorAll('#chosen input[name="file_id"]')];

function showChosen() {
  const all = document.getElementById("pick-all");
  if (!all) return;
  const shown = boxes();
  const count = shown.filter((box) => box.checked).length;
  all.checked = count > 0 && count === shown.length;
  all.indeterminate = count > 0 && count < shown.length;
  for (const button of document.querySelectorAll(".chosen-actions button")) {
    button.disabled = count === 0;
  }
  document.getElementById("chosen-count").textContent =
    count === 0
      ? "Select files to delete or process them again"
      : `${count} of ${shown.length} on this page selected`;
}

function choose(event) {
  const box = event.target;
  if (box.id === "pick-all") {
    for (const each of boxes()) each.checked = box.checked;
  } else if (box.name !== "file_id") {
    return;
  }
  chosen.clear();
  for (const each of boxes()) if (each.checked) chosen.add(each.value);
  showChosen();
}

function restoreChosen() {
  for (const box of boxes()) box.checked = chosen.has(box.value);
  chosen.clear(); // what is no longer shown is no longer chosen
  for (const box of boxes()) if (box.checked) chosen.add(box.value);
  showChosen();
}

function afterSwap(event) {
  if (event.target.id === "files") showFiles();
}

function showFiles() {
  document.getElementById("search").hidden = document.getElementById("no-files") !== null;
  restoreChosen();
}

// What a person asks for comes before what is fetched anew by itself, whichever answer is first.
const isRefresh = (event) => event.detail.requestConfig.elt.id === "files";
const queryOf = (address) => new URL(address).searchParams.toString();
let asked = 0;

function beforeRequest(event) {
  if (!isRefresh(event)) asked += 1;
  else if (asked > 0) event.preventDefault();
}

function afterRequest(event) {
  if (!isRefresh(event)) asked -= 1;
}

function beforeSwap(event) {
  if (!isRefresh(event)) return;
  const isOld = queryOf(event.detail.xhr.responseURL) !== queryOf(location.href);
  if (asked > 0 || isOld) event.detail.shouldSwap = false;
}

// An address says only what is not as it is anyway.
function dropEmpty(event) {
  if (event.detail.elt.id !== "search") return;
  for (const [name, text] of [...event.detail.formData]) {
    if (text === "") event.detail.formData.delete(name);
  }
}

function announceFound(event) {
  if (event.detail.elt.id !== "search") return;
  const rows = boxes().length;
  document.getElementById("announcer").textContent =
    rows === 0 ? "No file matches" : `${rows} files shown`;
}

document.addEventListener("change", choose);
document.addEventListener("htmx:afterSwap", afterSwap);
document.addEventListener("htmx:historyRestore", showFiles);
document.addEventListener("htmx:beforeRequest", beforeRequest);
document.addEventListener("htmx:afterRequest", afterRequest);
document.addEventListener("htmx:beforeSwap", beforeSwap);
document.addEventListener("htmx:configRequest", dropEmpty);
document.addEventListener("htmx:afterRequest", announceFound);
setInterval(() => {
  if (!document.hidden) htmx.trigger("#files", "refresh");
}, RATES_MS);
restoreChosen();
if (document.getElementById("drop")) startUploads();
