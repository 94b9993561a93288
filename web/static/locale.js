// Figures, sizes, durations, times and ages as the reader's locale and zone have them. The server
// renders them plainly: <data value class="number|brief|size|duration|left"> and <time datetime>.

const UNITS = ["KiB", "MiB", "GiB"];
const AGES = [["day", 86_400], ["hour", 3_600], ["minute", 60], ["second", 1]];
const AGE_MS = 10_000; // how often ages are told anew

const plain = new Intl.NumberFormat(undefined, { maximumSignificantDigits: 17 });
const six = new Intl.NumberFormat(undefined, { maximumSignificantDigits: 6 });
const tenths = new Intl.NumberFormat(undefined, { minimumFractionDigits: 1, maximumFractionDigits: 1 });
const ago = new Intl.RelativeTimeFormat(undefined, { style: "short", numeric: "auto" });
const moments = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });

export const formatNumber = (figure) => plain.format(figure);
export const formatBrief = (figure) => six.format(figure);

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

export function formatAge(moment, now = Date.now()) {
  const seconds = Math.max(0, Math.floor((now - moment) / 1_000));
  const [unit, length] = AGES.find((age) => seconds >= age[1]) ?? AGES.at(-1);
  return ago.format(-Math.floor(seconds / length), unit);
}

const FORMATS = { number: formatNumber, brief: formatBrief, size: formatSize, duration: formatDuration, left: formatLeft };

const utc = (text) => `${text.slice(0, 10)} ${text.slice(11, 19)} UTC`;

function localizeTime(time) {
  const moment = new Date(time.dateTime);
  if (Number.isNaN(moment.getTime())) return; // beyond what Date knows: it stays as rendered
  time.title = time.classList.contains("age")
    ? `${formatTime(moment)} (${utc(time.dateTime)})`
    : utc(time.dateTime);
  time.textContent = time.classList.contains("age") ? formatAge(moment) : formatTime(moment);
}

export function localize(root) {
  for (const data of root.querySelectorAll("data[value]")) {
    const format = FORMATS[data.classList.item(0)];
    if (format) data.textContent = format(Number(data.value));
  }
  root.querySelectorAll("time[datetime]").forEach(localizeTime);
}

setInterval(() => document.querySelectorAll("time.age").forEach(localizeTime), AGE_MS);
