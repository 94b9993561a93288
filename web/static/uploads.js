// Uploads: a few at a time are sent, the rest waits; each is followed to the end of its processing.

import { formatLeft, formatNumber, formatSize } from "./locale.js";

const AT_ONCE = 3;
const KEPT_DONE = 8; // of those that did not fail so many are still listed
const BUSY_MS = 5_000; // a service that takes no more now is asked again after this
const STALE_MS = 2_500; // one of which nothing is heard for this long is asked for
const FINAL = ["processed", "partial", "failed"];
const FROM_FOLDERS = /\.(csv|txt)$/i;
const REMEMBERED = 1_000;

const uploads = new Set();
const queue = [];
const heard = new Map(); // the newest event of each file: it may come before the upload's answer
let sending = 0;

const byId = (id) => document.getElementById(id);
const inWords = (count) => `${formatNumber(count)} ${count === 1 ? "row" : "rows"}`;
const asSentence = (text) => text.charAt(0).toUpperCase() + text.slice(1);
const percent = (part) => `${Math.floor(part * 100)} %`;

class Rate {
  constructor() {
    this.began = performance.now();
  }

  // What is known of `done` of `total`: the rate since the beginning, and the time that is left.
  tell(done, total, format) {
    const seconds = (performance.now() - this.began) / 1_000;
    if (seconds < 0.5 || !done) return "";
    const rate = done / seconds;
    const left = ((total - done) / rate) * 1_000;
    return ` · ${format(rate)}/s · ${formatLeft(left)}`;
  }
}

class Upload {
  constructor(file) {
    this.file = file;
    this.key = newKey();
    this.state = "waiting";
  }

  show() {
    if (this.item) return;
    this.item = byId("upload-item").content.firstElementChild.cloneNode(true);
    this.item.querySelector(".upload-name").textContent = this.file.name;
    this.bar = this.item.querySelector("progress");
    this.bar.setAttribute("aria-label", `Progress of ${this.file.name}`);
    this.text = this.item.querySelector(".upload-state");
    this.retryButton = this.item.querySelector(".retry");
    this.cancelButton = this.item.querySelector(".cancel");
    this.retryButton.setAttribute("aria-label", `Retry ${this.file.name}`);
    this.cancelButton.setAttribute("aria-label", `Cancel ${this.file.name}`);
    this.retryButton.addEventListener("click", () => this.retry());
    this.cancelButton.addEventListener("click", () => this.cancel());
    byId("upload-list").prepend(this.item);
  }

  turn(state, text) {
    this.state = state;
    this.show();
    this.item.dataset.state = state;
    this.text.textContent = text;
    const isOver = ["done", "refused", "cancelled"].includes(state);
    this.bar.hidden = isOver;
    this.cancelButton.hidden = isOver;
    this.retryButton.hidden = !["refused", "cancelled"].includes(state);
  }

  progress(part) {
    if (part === null) this.bar.removeAttribute("value");
    else this.bar.value = part;
  }

  send() {
    sending += 1;
    this.rate = new Rate();
    this.turn("sending", `0 % of ${formatSize(this.file.size)}`);
    this.progress(0);
    const form = new FormData();
    form.append("file", this.file, this.file.name);
    const request = new XMLHttpRequest();
    this.request = request;
    request.open("POST", "/files");
    request.setRequestHeader("Idempotency-Key", this.key);
    const token = document.querySelector('meta[name="csrf-token"]')?.content;
    if (token) request.setRequestHeader("X-CSRF-Token", token);
    request.upload.addEventListener("progress", (event) => this.sent(event));
    request.addEventListener("load", () => this.answered());
    request.addEventListener("error", () =>
      this.refuse("The connection broke, or the file has changed since it was chosen. Retry sends it again; it is kept only once."),
    );
    request.addEventListener("loadend", () => {
      this.request = null;
      sending -= 1;
      next();
    });
    request.send(form);
  }

  sent(event) {
    if (this.state !== "sending" || !event.total) return;
    this.progress(event.loaded / event.total);
    this.text.textContent =
      `${percent(event.loaded / event.total)} of ${formatSize(event.total)}` +
      this.rate.tell(event.loaded, event.total, formatSize);
    showSum();
  }

  answered() {
    const { status, responseText } = this.request;
    if (status === 503) return this.sendLater("The service takes no more now");
    // A connection broke, and the service has not noticed yet.
    if (status === 409) return this.sendLater("The service still waits for the rest of it");
    if (status !== 202) return this.refuse(reasonOf(status, responseText));
    const record = JSON.parse(responseText);
    this.fileId = record.file_id;
    this.rate = new Rate();
    this.follow(heard.get(this.fileId) ?? record);
  }

  sendLater(reason) {
    this.turn("waiting", `${reason}; trying again in a few seconds`);
    this.timer = setTimeout(() => {
      if (this.state !== "waiting") return;
      queue.unshift(this);
      next();
    }, BUSY_MS);
  }

  follow(news) {
    if (["done", "cancelled"].includes(this.state)) return;
    this.news = performance.now();
    if (FINAL.includes(news.status)) return this.finish(news);
    const { bytes_read: bytes, rows_read: rows } = news.progress;
    if (news.status === "uploaded") {
      this.turn("processing", "Uploaded; waiting to be processed");
      this.progress(null);
      return;
    }
    const part = news.size_bytes ? bytes / news.size_bytes : 0;
    this.turn(
      "processing",
      `Processing: ${percent(part)}, ${inWords(rows)}` +
        this.rate.tell(bytes, news.size_bytes, formatSize),
    );
    this.progress(part);
  }

  finish(record) {
    const rows = inWords(record.progress.rows_read);
    const errors = record.error_count ? `, ${formatNumber(record.error_count)} with errors` : "";
    const text = asSentence(record.message ?? rows + errors);
    this.status = record.status;
    this.turn("done", text);
    this.item.dataset.status = record.status;
    const link = document.createElement("a");
    link.href = `/ui/files/${this.fileId}`;
    link.textContent = this.file.name;
    this.item.querySelector(".upload-name").replaceChildren(link);
    this.text.prepend(signOf(record.status), " · ");
    say(`${this.file.name}: ${record.status}, ${text}`);
    forgetDone();
    showSum();
  }

  refuse(reason) {
    if (this.state === "cancelled") return;
    this.turn("refused", asSentence(reason));
    say(`${this.file.name}: ${reason}`);
    showSum();
  }

  async cancel() {
    clearTimeout(this.timer);
    const wasProcessing = this.state === "processing";
    this.turn("cancelled", wasProcessing ? "Cancelled; the file is deleted" : "Cancelled");
    this.request?.abort();
    const place = queue.indexOf(this);
    if (place >= 0) queue.splice(place, 1);
    showSum();
    if (!wasProcessing) return;
    const answer = await fetch(`/files/${this.fileId}`, { method: "DELETE", headers: tokens() });
    if (!answer.ok && answer.status !== 404) {
      this.turn("refused", `It could not be deleted: ${reasonOf(answer.status, await answer.text())}`);
    }
    showSum();
  }

  retry() {
    // A key belongs to the file that it made; that one is deleted.
    if (this.fileId) this.key = newKey();
    this.fileId = undefined;
    delete this.item.dataset.status;
    this.turn("waiting", "Waiting");
    this.progress(0);
    queue.unshift(this);
    next();
  }

  forget() {
    uploads.delete(this);
    this.item?.remove();
  }
}

function newKey() {
  // randomUUID is not there where a page comes over plain HTTP from another machine
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

function tokens() {
  const token = document.querySelector('meta[name="csrf-token"]')?.content;
  return token ? { "X-CSRF-Token": token } : {};
}

function reasonOf(status, body) {
  try {
    return JSON.parse(body).detail;
  } catch {
    return `The service answered ${status}.`;
  }
}

function signOf(status) {
  const shown = document.querySelector(`.filter .status.${status}`);
  if (shown) return shown.cloneNode(true);
  const plain = document.createElement("span");
  plain.className = `status ${status}`;
  plain.textContent = status;
  return plain;
}

function say(text) {
  byId("announcer").textContent = text;
}

function next() {
  while (sending < AT_ONCE && queue.length) queue.shift().send();
  showSum();
}

function count(...states) {
  return [...uploads].filter((upload) => states.includes(upload.state)).length;
}

function showSum() {
  byId("uploads").hidden = uploads.size + leftOut === 0;
  const moving = count("sending", "processing");
  const waiting = count("waiting");
  const told = [
    moving && `${formatNumber(moving)} under way`,
    waiting && `${formatNumber(waiting)} waiting`,
    `${formatNumber(forgotten.done + count("done"))} finished`,
    ...endsToTell(),
    count("refused") && `${formatNumber(count("refused"))} refused`,
    leftOut && `${formatNumber(leftOut)} left out as no CSV`,
  ];
  byId("uploads-sum").textContent = told.filter(Boolean).join(" · ");
  byId("cancel-all").hidden = moving + waiting < 2;
  byId("retry-all").hidden = count("refused") < 2;
  byId("clear-done").hidden = count("done", "cancelled", "refused") + leftOut === 0;
}

function endsToTell() {
  const of = (status) => forgotten[status] + [...uploads].filter((upload) => upload.state === "done" && upload.status === status).length;
  const [partial, failed] = [of("partial"), of("failed")];
  return [partial && `${formatNumber(partial)} with bad rows`, failed && `${formatNumber(failed)} failed`];
}

const forgotten = { done: 0, processed: 0, partial: 0, failed: 0 }; // no longer listed
let leftOut = 0; // of the folders that were given

function forgetDone() {
  const done = [...uploads].filter((upload) => upload.state === "done" && upload.status !== "failed");
  for (const upload of done.slice(0, Math.max(0, done.length - KEPT_DONE))) {
    upload.forget();
    forgotten.done += 1;
    forgotten[upload.status] += 1;
  }
}

function add(files) {
  for (const file of files) {
    const upload = new Upload(file);
    uploads.add(upload);
    queue.push(upload);
  }
  next();
}

function ofFolder(files) {
  const wanted = files.filter((file) => FROM_FOLDERS.test(file.name));
  const others = files.length - wanted.length;
  if (others) say(`${formatNumber(others)} left out as no CSV`);
  leftOut += others;
  return wanted;
}

async function inEntry(entry) {
  if (entry.isFile) return [await new Promise((done, failed) => entry.file(done, failed))];
  const reader = entry.createReader();
  const found = [];
  for (;;) {
    const some = await new Promise((done, failed) => reader.readEntries(done, failed));
    if (!some.length) return found;
    for (const each of some) found.push(...(await inEntry(each)));
  }
}

async function drop(event) {
  event.preventDefault();
  byId("drop").classList.remove("over");
  const entries = [...event.dataTransfer.items].map((item) => item.webkitGetAsEntry?.());
  const files = [...event.dataTransfer.files];
  if (!entries.some((entry) => entry?.isDirectory)) return add(files);
  for (const entry of entries) {
    if (!entry) continue;
    const found = await inEntry(entry);
    add(entry.isDirectory ? ofFolder(found) : found);
  }
}

function hear(event) {
  const news = event.detail;
  heard.delete(news.file_id);
  heard.set(news.file_id, news);
  if (heard.size > REMEMBERED) heard.delete(heard.keys().next().value);
  for (const upload of uploads) if (upload.fileId === news.file_id) upload.follow(news);
}

function lose(event) {
  for (const upload of uploads) {
    if (upload.fileId === event.detail.file_id && upload.state === "processing") {
      upload.refuse("It was deleted before it was done");
    }
  }
}

async function ask(upload) {
  upload.news = performance.now();
  const answer = await fetch(`/files/${upload.fileId}`);
  if (answer.ok) upload.follow(await answer.json());
  else if (answer.status === 404) lose({ detail: { file_id: upload.fileId } });
}

function askForStale() {
  const stale = [...uploads].filter(
    (upload) => upload.state === "processing" && performance.now() - upload.news > STALE_MS,
  );
  for (const upload of stale.slice(0, AT_ONCE)) ask(upload).catch(() => {});
}

function pickWith(button, input, files) {
  byId(button).addEventListener("click", () => byId(input).click());
  byId(input).addEventListener("change", (event) => {
    add(files([...event.target.files]));
    event.target.value = "";
  });
}

function keepOpen(event) {
  if (count("sending", "waiting")) event.preventDefault();
}

export function startUploads() {
  pickWith("pick-files", "file", (files) => files);
  pickWith("pick-folder", "folder", ofFolder);
  addEventListener("dragover", (event) => {
    if (!event.dataTransfer.types.includes("Files")) return;
    event.preventDefault();
    byId("drop").classList.add("over");
  });
  addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) byId("drop").classList.remove("over");
  });
  addEventListener("drop", (event) => {
    if (event.dataTransfer.types.includes("Files")) drop(event);
  });
  byId("cancel-all").addEventListener("click", () => {
    for (const upload of [...uploads]) {
      if (["waiting", "sending", "processing"].includes(upload.state)) upload.cancel();
    }
  });
  byId("retry-all").addEventListener("click", () => {
    for (const upload of [...uploads]) if (upload.state === "refused") upload.retry();
  });
  byId("clear-done").addEventListener("click", () => {
    for (const upload of [...uploads]) {
      if (["done", "cancelled", "refused"].includes(upload.state)) upload.forget();
    }
    for (const end of Object.keys(forgotten)) forgotten[end] = 0;
    leftOut = 0;
    showSum();
  });
  document.addEventListener("file:status", hear);
  document.addEventListener("file:progress", hear);
  document.addEventListener("file:deleted", lose);
  addEventListener("beforeunload", keepOpen);
  setInterval(askForStale, STALE_MS);
}
