// Figures, sizes, durations, times and ages as the reader's locale and zone have them. The server
// renders them plainly: <data value class="number|brief|size|duration|left">, <time datetime>, and
// <time class="instant"> for the time of a reading, which has its fraction of a second.

const UNITS = ["KiB", "MiB", "GiB"];
const AGES = [["day", 86_400], ["hour", 3_600], ["minute", 60], ["second", 1]];
const AGE_MS = 10_000; // how often ages are told anew

const plain = new Intl.NumberFormat(undefined, { maximumSignificantDigits: 17 });
const six = new Intl.NumberFormat(undefined, { maximumSignificantDigits: 6 });
const powers = new Intl.NumberFormat(undefined, { maximumSignificantDigits: 6, notation: "scientific" });
const tenths = new Intl.NumberFormat(undefined, { minimumFractionDigits: 1, maximumFractionDigits: 1 });
const ago = new Intl.RelativeTimeFormat(undefined, { style: "short", numeric: "auto" });
const moments = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });
const fractions = new Intl.DateTimeFormat(undefined, {
  ...{ year: "numeric", month: "short", day: "numeric", hour: "numeric", minute: "2-digit", second: "2-digit" },
  fractionalSecondDigits: 3,
});
const micros = new Intl.NumberFormat(undefined, { minimumIntegerDigits: 6, useGrouping: false });

export const formatNumber = (figure) => plain.format(figure);

// To six digits; with a power of ten where it would have many zeros.
export function formatBrief(figure) {
  const isPlain = figure === 0 || (Math.abs(figure) >= 1e-6 && Math.abs(figure) < 1e15);
  return (isPlain ? six : powers).format(figure);
}

export function formatSize(bytes) {
  if (bytes < 1024) return `${plain.format(bytes)} bytes`;
  let amount = bytes / 1024;
  let unit = 0;
  while (amount >= 1024 && unit < UNITS.length - 1) {
    amount /= 1024;
    unit += 1;
  }
  return `${tenths.format(amount)} ${UNITS[unit]}`;
}

export function formatDuration(ms) {
  if (ms < 1_000) return `${plain.format(Math.round(ms))} ms`;
  if (ms < 60_000) return `${tenths.format(ms / 1_000)} s`;
  const seconds = Math.round(ms / 1_000);
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min ${seconds % 60} s`;
  return `${plain.format(Math.floor(minutes / 60))} h ${minutes % 60} min`;
}

// An estimate, which is no more exact than to the second.
export function formatLeft(ms) {
  if (ms < 1_000) return "less than a second left";
  const seconds = Math.round(ms / 1_000);
  return `about ${seconds < 60 ? `${seconds} s` : formatDuration(1_000 * seconds)} left`;
}

export const formatTime = (moment) => moments.format(moment);

// A time with its microseconds, where it has some.
export function formatInstant(moment, microseconds) {
  if (!microseconds) return formatTime(moment);
  const shown = fractions.formatToParts(moment).map(({ type, value }) => (type === "fractionalSecond" ? micros.format(microseconds) : value));
  return shown.join("");
}

export function formatAge(moment, now = Date.now()) {
  const seconds = Math.max(0, Math.floor((now - moment) / 1_000));
  const [unit, length] = AGES.find((age) => seconds >= age[1]) ?? AGES.at(-1);
  return ago.format(-Math.floor(seconds / length), unit);
}

const FORMATS = { number: formatNumber, brief: formatBrief, size: formatSize, duration: formatDuration, left: formatLeft };

const utc = (text, end = 19) => `${text.slice(0, 10)} ${text.slice(11, end)} UTC`;
const microsOf = (text) => Number((text.match(/\.(\d+)/)?.[1] ?? "").padEnd(6, "0"));

function localizeTime(time) {
  const moment = new Date(time.dateTime);
  if (Number.isNaN(moment.getTime())) return; // beyond what Date knows: it stays as rendered
  if (time.classList.contains("age")) {
    time.title = `${formatTime(moment)} (${utc(time.dateTime)})`;
    time.textContent = formatAge(moment);
  } else if (time.classList.contains("instant")) {
    time.title = utc(time.dateTime, -1);
    time.textContent = formatInstant(moment, microsOf(time.dateTime));
  } else {
    time.title = utc(time.dateTime);
    time.textContent = formatTime(moment);
  }
}

export function localize(root) {
  for (const data of root.querySelectorAll("data[value]")) {
    const format = FORMATS[data.classList.item(0)];
    if (format) data.textContent = format(Number(data.value));
  }
  root.querySelectorAll("time[datetime]").forEach(localizeTime);
}

setInterval(() => document.querySelectorAll("time.age").forEach(localizeTime), AGE_MS);
