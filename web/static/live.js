// Live pages. An element with hx-ext="sse" and sse-connect listens to the server's events. Each is
// told to the document as `file:status`, `file:progress`, `file:deleted` or `file:missed`, and what
// has `refresh` in its hx-trigger is fetched anew soon after: so it is every few seconds while no
// stream is to be had. The header tells which of these it is. What has `look` in its hx-trigger is
// no longer live: it asks now and then whether it is still as it was. Hidden pages ask nothing.

const POLL_MS = 2_000;
const LOOK_MS = 5_000;
const AGAIN_MS = 5_000; // the browser itself tries again unless the server has refused the stream
const SETTLE_MS = 300; // events closer together than this cost one fetch
const TYPES = ["status", "progress", "deleted", "missed"];
const TOLD = {
  live: "Live",
  polling: "Not live: asking every 2 s",
  offline: "No answer from the service",
};

let timer = null;
let settling = null;

// What htmx's extension takes for an EventSource. A browser has few connections for a server, all
// its tabs together, so a page that is hidden gives its own up.
class Source extends EventTarget {
  constructor(url) {
    super();
    this.url = url;
    this.isClosed = false;
    this.follow = () => (document.hidden ? this.pause() : this.open());
    document.addEventListener("visibilitychange", this.follow);
    addEventListener("pagehide", () => this.pause());
    addEventListener("pageshow", this.follow);
    this.follow();
  }

  get readyState() {
    return this.isClosed ? EventSource.CLOSED : EventSource.OPEN;
  }

  open() {
    if (this.isClosed || this.inner) return;
    this.inner = new EventSource(this.url);
    this.inner.onopen = () => {
      stopPolling();
      tell("live");
      refresh(); // what happened before the stream was open
    };
    this.inner.onerror = () => {
      poll();
      if (this.inner?.readyState === EventSource.CLOSED) {
        this.pause();
        setTimeout(this.follow, AGAIN_MS);
      }
    };
    for (const type of TYPES) this.inner.addEventListener(type, announce);
  }

  pause() {
    this.inner?.close();
    this.inner = null;
  }

  close() {
    this.isClosed = true;
    this.pause();
    stopPolling();
    document.removeEventListener("visibilitychange", this.follow);
    removeEventListener("pageshow", this.follow);
  }
}

function announce(event) {
  const detail = JSON.parse(event.data);
  document.dispatchEvent(new CustomEvent(`file:${event.type}`, { detail }));
  settling ??= setTimeout(refresh, SETTLE_MS);
}

function triggerAll(name) {
  if (document.hidden) return;
  for (const element of document.querySelectorAll(`[hx-trigger*="${name}"]`)) {
    htmx.trigger(element, name);
  }
}

export function refresh() {
  settling = null;
  triggerAll("refresh");
}

const look = () => triggerAll("look");

function poll() {
  timer ??= setInterval(() => {
    tell("polling");
    refresh();
  }, POLL_MS);
}

function stopPolling() {
  clearInterval(timer);
  timer = null;
}

function tell(state) {
  const sign = document.getElementById("live-state");
  if (sign.dataset.state === state) return;
  sign.dataset.state = state;
  sign.textContent = TOLD[state];
  sign.hidden = false;
}

function tellNothing() {
  const sign = document.getElementById("live-state");
  sign.hidden = true;
  delete sign.dataset.state;
}

export function watch() {
  htmx.createEventSource = (url) => new Source(url);
  document.addEventListener("htmx:sendError", () => tell("offline"));
  document.addEventListener("htmx:afterRequest", (event) => {
    if (event.detail.successful && !document.querySelector("[sse-connect]")) tellNothing();
  });
  document.addEventListener("htmx:sseClose", tellNothing);
  document.addEventListener("visibilitychange", look);
  setInterval(look, LOOK_MS);
}
