/** Numbers, times and states as people read them. */

const MINUS = "−";
const NONE = "–";

/** States in which a job still changes. */
export const ACTIVE = ["validating", "queued", "starting", "running", "cancelling"];
export const STATUSES = [...ACTIVE, "succeeded", "failed", "cancelled"];

export const isActive = (job) => ACTIVE.includes(job.status);
export const isNumber = (value) => typeof value === "number" && Number.isFinite(value);

/** '0.533'; trailing precision is kept so that columns align. */
export function number(value, digits = 2) {
  if (!isNumber(value)) return NONE;
  const text = value.toFixed(digits).replace("-", MINUS);
  return Number(value.toFixed(digits)) === 0 ? text.replace(MINUS, "") : text;
}

/** '53 %' of a share. */
export const percent = (share, digits = 0) => (isNumber(share) ? `${number(100 * share, digits)} %` : NONE);

/** '+5.0' for changes. */
export const signed = (value, digits = 1) => (Number(value.toFixed(digits)) > 0 ? "+" : "") + number(value, digits);

/** '1,234'. */
export const whole = (value) => (isNumber(value) ? Math.round(value).toLocaleString("en") : NONE);

/** '1,234' or '0.5': a count of what may be shared. */
export const amount = (value) => (Number.isInteger(value) ? whole(value) : number(value, 1));

/** '8 s', '4 min 10 s', '2 h 05 min', '3 d 4 h'. */
export function duration(seconds) {
  if (!isNumber(seconds) || seconds < 0) return NONE;
  const total = Math.round(seconds);
  const [d, hr, m, sec] = [
    Math.floor(total / 86400),
    Math.floor(total / 3600) % 24,
    Math.floor(total / 60) % 60,
    total % 60,
  ];
  if (d) return `${d} d ${hr} h`;
  if (hr) return `${hr} h ${String(m).padStart(2, "0")} min`;
  if (m) return m < 10 ? `${m} min ${String(sec).padStart(2, "0")} s` : `${m} min`;
  return `${sec} s`;
}

const UNITS = [
  [86400, "d"],
  [3600, "h"],
  [60, "min"],
  [1, "s"],
];

/** 'now', '4 min ago', '3 h ago': the largest unit will do. */
export function ago(iso) {
  const seconds = (Date.now() - Date.parse(iso)) / 1000;
  if (!isNumber(seconds)) return NONE;
  const [size, unit] = UNITS.find(([size]) => seconds >= size) ?? [1, "s"];
  return seconds < 5 ? "now" : `${Math.floor(seconds / size)} ${unit} ago`;
}

/** '7 min', '2 h 10 min', 'less than a minute': as good as an estimate is. */
export function estimate(seconds) {
  return seconds < 60 ? "less than a minute" : duration(60 * Math.round(seconds / 60)).replace(" 00 s", "");
}

/** Date and time of this machine's zone, to the second. */
export function moment(iso) {
  const date = new Date(iso);
  return Number.isNaN(date.getTime())
    ? NONE
    : date.toLocaleString("en-GB", { dateStyle: "medium", timeStyle: "medium" });
}

/** Seconds that a job has run or did run; null before its start. */
export function elapsed(job) {
  if (!job.started_at) return null;
  return ((job.ended_at ? Date.parse(job.ended_at) : Date.now()) - Date.parse(job.started_at)) / 1000;
}

/** Share of the steps done, from 0 to 1; null where it is not known. */
export function done(job) {
  const { step, steps } = job.progress ?? {};
  return isNumber(step) && steps > 0 ? Math.min(1, step / steps) : null;
}

/** 'bytes' as '3.1 MB'. */
export function size(bytes) {
  if (!isNumber(bytes)) return NONE;
  const power = bytes > 0 ? Math.min(4, Math.floor(Math.log10(bytes) / 3)) : 0;
  return `${number(bytes / 1000 ** power, power ? 1 : 0)} ${["B", "kB", "MB", "GB", "TB"][power]}`;
}
