// The page of one file: the series as a chart to zoom in, what is to be copied, and questions.

import { formatBrief, formatInstant } from "./locale.js";

const MOST_SECONDS = 8.64e12; // beyond it Date knows no time
const FINE = 5; // over fewer seconds the axis of the time is one of numbers, for uPlot's own ends at 1 ms
const ALONE = 30; // so many seconds before and after the only reading are shown
const HIGHEST = 1e300; // uPlot's scales run over beyond
// The parts of the page, each with what is its own in the address.
const PARTS = { series: ["sensor", "from", "to"], sensors: ["sort", "q", "cursor"], errors: ["reason"] };
let chart = null;

// A colour of the style sheet as the canvas takes it.
function colour(name, share = 1) {
  const probe = document.createElement("span");
  probe.style.color = `color-mix(in srgb, var(--${name}) ${100 * share}%, transparent)`;
  document.body.append(probe);
  const found = getComputedStyle(probe).color;
  probe.remove();
  return found;
}

const days = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short", year: "numeric" });
const minutes = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const seconds = new Intl.DateTimeFormat(undefined, { timeStyle: "medium" });

// A size as the style sheet means it: that of the text at its usual size, 15 px.
const scaled = (pixels) => (pixels / 15) * parseFloat(getComputedStyle(document.documentElement).fontSize);

// Whole seconds and the microseconds beyond, of a time in seconds.
function parted(tick) {
  const micros = Math.round(tick * 1e6);
  const second = Math.floor(micros / 1e6);
  return [second * 1000, micros - second * 1e6];
}

// From the finest to the coarsest what a label of the time consists of, at that many seconds a step.
function instant(tick, step) {
  const [at, micros] = parted(tick);
  if (step >= 86_400) return [days.format(at)];
  if (step >= 60) return [minutes.format(at), days.format(at)];
  if (step >= 1) return [seconds.format(at), days.format(at)];
  const fraction = step < 1e-3 ? `${formatBrief(micros)} µs` : `${formatBrief(micros / 1000)} ms`;
  return [`+${fraction}`, seconds.format(at), days.format(at)];
}

// Each label's finest part, and below it what has changed since the one before.
function instants(_chart, ticks, _axis, _space, step) {
  let before = [];
  return ticks.map((tick) => {
    const parts = instant(tick, step);
    const label = parts.filter((part, place) => place === 0 || part !== before[place]).join("\n");
    before = parts;
    return label;
  });
}

// The figures below the chart are those under the pointer, and the latest where it is elsewhere.
const figure = (format) => (chart, value, series, index) => {
  const told = index == null ? chart.data[series].at(-1) : value;
  return told == null ? "–" : format(told);
};
const shown = figure(formatBrief);
const moment = figure((tick) => formatInstant(...parted(tick)));

const height = () => scaled(280);

function options(width, x, onPicked) {
  const isAlone = x.length === 1;
  const isFine = !isAlone && x.at(-1) - x[0] < FINE;
  const ink = colour("quiet");
  const grid = { stroke: colour("line"), width: 1 };
  const axis = { stroke: ink, grid, ticks: grid, font: `${scaled(12)}px system-ui, sans-serif` };
  const band = colour("accent", 0.25);
  const isNarrow = width < 480;
  return {
    width,
    height: height(),
    padding: [null, scaled(44), null, null], // the last label of the time stands half beyond its tick
    scales: { x: { time: !isFine, range: (_u, low, high) => (isAlone ? [x[0] - ALONE, x[0] + ALONE] : [low, high]) } },
    legend: { live: true, markers: { show: false } },
    cursor: { drag: { x: true, y: false, setScale: false, dist: 5 }, bind: { dblclick: () => null } },
    axes: [
      { ...axis, values: instants, space: scaled(90), size: scaled(isFine ? 66 : 50) },
      { ...axis, size: scaled(isNarrow ? 44 : 64), values: (_u, ticks) => ticks.map(formatBrief) },
    ],
    series: [
      { label: "Time", value: moment },
      { label: "Minimum", stroke: band, value: shown, points: { show: false } },
      { label: "Maximum", stroke: band, value: shown, points: { show: false } },
      { label: "Mean", stroke: colour("accent"), width: scaled(1.75), value: shown },
      { label: "Readings", paths: () => null, points: { show: false }, value: shown, scale: "n" },
    ],
    bands: [{ series: [2, 1], fill: band }],
    hooks: { setSelect: [onPicked] },
  };
}

function go(changes) {
  const address = new URL(location.href);
  for (const [name, value] of Object.entries(changes)) {
    if (value === null) address.searchParams.delete(name);
    else address.searchParams.set(name, value);
  }
  const link = document.createElement("a");
  link.href = `${address.pathname}${address.search}#series`;
  link.hidden = true;
  document.getElementById("series").append(link); // which is replaced with the panel
  htmx.process(link);
  link.click();
}

function zoom(u) {
  if (u.select.width < 5) return;
  const [from, to] = [u.select.left, u.select.left + u.select.width].map((at) => u.posToVal(at, "x"));
  u.setSelect({ left: 0, width: 0, top: 0, height: 0 }, false);
  if (to <= from || Math.abs(from) > MOST_SECONDS || Math.abs(to) > MOST_SECONDS) return;
  go({ from: rfc3339(from), to: rfc3339(to) });
}

function rfc3339(tick) {
  const [at, micros] = parted(tick);
  return new Date(at).toISOString().replace(/\d{3}Z$/, `${String(micros).padStart(6, "0")}Z`);
}

function draw() {
  chart?.destroy();
  chart = null;
  const source = document.getElementById("series-data");
  if (!source) return;
  const { x, min, max, mean, count } = JSON.parse(source.textContent);
  if ([...min, ...max].some((value) => Math.abs(value) > HIGHEST)) return; // the drawn one stays
  const figure = document.getElementById("chart");
  const place = document.createElement("div");
  figure.prepend(place);
  figure.querySelector(".plot").classList.add("on-paper");
  chart = new uPlot(options(figure.clientWidth, x, zoom), [x, min, max, mean, count], place);
  chart.over.addEventListener("dblclick", () => go({ from: null, to: null }));
  const destroy = chart.destroy;
  chart.destroy = () => {
    destroy();
    place.remove();
  };
}

async function copy(button) {
  const text = document.getElementById(button.dataset.copy).textContent;
  const says = button.querySelector("span");
  try {
    await navigator.clipboard.writeText(text);
    says.textContent = "Copied";
  } catch {
    getSelection().selectAllChildren(document.getElementById(button.dataset.copy));
    says.textContent = "Selected: press Ctrl+C"; // the clipboard is refused where there is no TLS
  }
  says.setAttribute("role", "status");
  setTimeout(() => (says.textContent = "Copy"), 2_500);
}

// A link changes what its own part of the page has in the address; the rest is as it is now. The
// page fetched anew by itself is that of the address.
document.addEventListener("htmx:configRequest", ({ detail }) => {
  if (["file", "look"].includes(detail.elt.id)) detail.path = location.pathname + location.search;
  const section = detail.elt.closest("#series, #sensors, #errors");
  if (!section) return;
  const part = detail.elt.dataset.part ?? section.id;
  const [now, wanted] = [new URL(location.href), new URL(detail.path, location.href)];
  for (const name of Object.entries(PARTS).flatMap(([id, names]) => (id === part ? [] : names))) {
    const value = now.searchParams.get(name);
    detail.parameters.delete(name);
    if (value === null) wanted.searchParams.delete(name);
    else wanted.searchParams.set(name, value);
  }
  detail.path = wanted.pathname + wanted.search;
});
// A panel whose top is in view stays there while it grows; what is below it would stay otherwise.
document.addEventListener("htmx:beforeSwap", ({ detail }) => {
  if (detail.target.id !== "series") return;
  const { top } = detail.target.getBoundingClientRect();
  document.getElementById("main").style.overflowAnchor = top >= 0 && top < innerHeight ? "none" : "auto";
});
document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-copy], [data-close], [data-ask]");
  if (!button) return;
  if (button.dataset.copy) copy(button);
  else if (button.dataset.ask) document.getElementById(button.dataset.ask).showModal();
  else button.closest("dialog")?.close();
});

let width = innerWidth;
addEventListener("resize", () => {
  if (innerWidth === width) return;
  width = innerWidth;
  if (chart) chart.setSize({ width: document.getElementById("chart").clientWidth, height: height() });
});
document.addEventListener("themechange", draw);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
document.addEventListener("htmx:afterSettle", (event) => {
  const told = event.target.querySelector?.(":is(#chart-says, caption, h2)");
  if (told) document.getElementById("says").textContent = told.textContent.trim();
  if (document.getElementById("series-data") && !document.querySelector("#chart .uplot")) draw();
  else if (!document.getElementById("series-data")) draw();
});
draw();
