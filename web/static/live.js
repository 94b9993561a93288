// Keeps the part of the page marked #live up to date: on each event it is fetched again as the
// server renders it. Where event streams fail, it is polled instead.
"use strict";

(() => {
  const POLL_MS = 2000;
  const SETTLE_MS = 200; // events closer together than this cost one fetch

  let source = null;
  let polling = null;
  let pending = null;

  const live = () => document.getElementById("live");

  async function refresh() {
    pending = null;
    // A person who is filling in a form in it, or has opened a question, is not disturbed.
    if (live().querySelector("details[open]")) return;
    const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const fresh = page.getElementById("live");
    if (!fresh) {
      location.reload(); // the file is gone: show what the server says
      return;
    }
    live().replaceWith(document.importNode(fresh, true));
    if (!fresh.dataset.events) stop();
  }

  function refreshSoon() {
    if (pending === null) pending = setTimeout(() => refresh().catch(poll), SETTLE_MS);
  }

  function poll() {
    pending = null;
    if (polling === null) polling = setInterval(() => refresh().catch(() => {}), POLL_MS);
  }

  function stop() {
    if (source) source.close();
    clearInterval(polling);
    source = polling = null;
  }

  function listen(url) {
    if (!window.EventSource) return poll();
    source = new EventSource(url);
    for (const type of ["status", "progress", "deleted", "missed"]) {
      source.addEventListener(type, refreshSoon);
    }
    source.onopen = () => {
      clearInterval(polling);
      polling = null;
      refreshSoon(); // what happened before the stream was open
    };
    source.onerror = poll; // the browser goes on trying to connect
  }

  const start = live();
  if (start && start.dataset.events) listen(start.dataset.events);
})();
