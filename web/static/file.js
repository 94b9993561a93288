// The page of one file: the series as a chart to zoom in, what is to be copied, and questions.

const HEIGHT = 280;
const HALF_LABEL = 44; // so much of the last label of the time may stand right of its tick
const MOST_MS = 8.64e15;
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

const briefly = new Intl.NumberFormat(undefined, { maximumSignificantDigits: 6 });
const moments = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });
const days = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short", year: "numeric" });
const minutes = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const seconds = new Intl.DateTimeFormat(undefined, { timeStyle: "medium" });

// Times of day, with the date below where it changes.
function instants(_chart, ticks, _axis, _space, step) {
  let before = "";
  return ticks.map((tick) => {
    const at = tick * 1000;
    const day = days.format(at);
    if (step >= 86_400) return day;
    const time = step < 1 ? `${seconds.format(at)} +${briefly.format(at % 1000)} ms` : (step < 60 ? seconds : minutes).format(at);
    const label = day === before ? time : `${time}\n${day}`;
    before = day;
    return label;
  });
}

// The figures below the chart are those under the pointer, and the latest where it is elsewhere.
const figure = (format) => (chart, value, series, index) => {
  const told = index == null ? chart.data[series].at(-1) : value;
  return told == null ? "–" : format(told);
};
const shown = figure((value) => briefly.format(value));
const moment = figure((seconds) => moments.format(seconds * 1000));

function options(width, onPicked) {
  const ink = colour("quiet");
  const grid = { stroke: colour("line"), width: 1 };
  const axis = { stroke: ink, grid, ticks: grid, font: "12px system-ui, sans-serif" };
  const band = colour("accent", 0.25);
  const isNarrow = width < 480;
  return {
    width,
    height: HEIGHT,
    padding: [null, HALF_LABEL, null, null],
    scales: { x: { time: true } },
    legend: { live: true, markers: { show: false } },
    cursor: { drag: { x: true, y: false, setScale: false, dist: 5 }, bind: { dblclick: () => null } },
    axes: [{ ...axis, values: instants, space: 90 }, { ...axis, size: isNarrow ? 44 : 64, values: (_u, ticks) => ticks.map((v) => briefly.format(v)) }],
    series: [
      { label: "Time", value: moment },
      { label: "Minimum", stroke: band, value: shown, points: { show: false } },
      { label: "Maximum", stroke: band, value: shown, points: { show: false } },
      { label: "Mean", stroke: colour("accent"), width: 1.75, value: shown },
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
  const ms = [u.select.left, u.select.left + u.select.width].map((at) => u.posToVal(at, "x") * 1000);
  const [from, to] = [Math.floor(ms[0]), Math.ceil(ms[1])];
  u.setSelect({ left: 0, width: 0, top: 0, height: 0 }, false);
  if (to <= from || Math.abs(from) > MOST_MS || Math.abs(to) > MOST_MS) return;
  go({ from: new Date(from).toISOString(), to: new Date(to).toISOString() });
}

function draw() {
  chart?.destroy();
  chart = null;
  const source = document.getElementById("series-data");
  if (!source) return;
  const { x, min, max, mean, count } = JSON.parse(source.textContent);
  const figure = document.getElementById("chart");
  const place = document.createElement("div");
  figure.prepend(place);
  figure.querySelector(".plot").hidden = true;
  chart = new uPlot(options(figure.clientWidth, zoom), [x, min, max, mean, count], place);
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

// A link changes what its own part of the page has in the address; the rest is as it is now.
document.addEventListener("htmx:configRequest", ({ detail }) => {
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
  if (chart) chart.setSize({ width: document.getElementById("chart").clientWidth, height: HEIGHT });
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
