/** A line of a log: its time, its level, its text. */

const COLOURS = /\u001b\[[0-9;]*[A-Za-z]/g;
const TIME = /^(\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d)(?:[.,]\d+)?(?:Z|[+-]\d\d:?\d\d)?\s*/;
const LEVEL = /\b(DEBUG|INFO|WARN(?:ING)?|ERROR|CRITICAL|FATAL)\b/;
const NAMES = { WARN: "warning", WARNING: "warning", ERROR: "error", CRITICAL: "error", FATAL: "error" };

/** Levels that can be asked for, with those of at least their rank; `mark` is the class of their lines. */
export const LEVELS = {
  "": { label: "Every level", rank: 0 },
  info: { label: "Info and above", rank: 1 },
  warning: { label: "Warnings and errors", rank: 2, mark: "warn" },
  error: { label: "Errors", rank: 3, mark: "bad" },
};

/** { time, level, text }; a line without a level, as of a traceback, has that of the line before it. */
export function parsed(raw, before) {
  const plain = raw.replace(COLOURS, "");
  const time = TIME.exec(plain);
  const text = time ? plain.slice(time[0].length) : plain;
  const level = LEVEL.exec(text)?.[1];
  if (/^Traceback \(/.test(text)) return { time: null, level: "error", text };
  if (level === undefined) return { time: time?.[1] ?? null, level: time ? "" : (before?.level ?? ""), text };
  return { time: time?.[1] ?? null, level: level === "DEBUG" ? "" : (NAMES[level] ?? "info"), text };
}

/** Whether a line is of the level that is asked for, and has the words. */
export const fits = ({ time, level, text }, wanted) =>
  LEVELS[level].rank >= LEVELS[wanted.level].rank && `${time ?? ""} ${text}`.toLowerCase().includes(wanted.words);
