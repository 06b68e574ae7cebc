/** The tail of a job's log: follows what comes, waits while the reader looks at something. */

import { api } from "./api.js";
import { h, say } from "./dom.js";
import { LEVELS, fits, parsed } from "./logline.js";
import { pause, visible } from "./poll.js";
import { events } from "./sse.js";

const MOST_LINES = 2000;
const AGAIN_MS = 2000;
const NEAR_END = 24;

/** The panel; `update(job)` tells it whether more may come. It reads until `signal`. */
export function logTail(id, { signal, refused, onstatus }) {
  const log = {
    id,
    signal,
    refused,
    onstatus,
    active: true,
    reading: false,
    lastId: null,
    following: true,
    opened: false,
    waiting: [],
    painting: false,
    lines: h("div", { class: "lines" }),
    state: h("p", { class: "muted state" }),
    toggle: h("button", { type: "button", class: "small", "aria-pressed": "true" }, "Pause"),
    search: h("input", { id: "log-search", type: "search", placeholder: "Search the log", autocomplete: "off" }),
    level: h(
      "select",
      { id: "log-level" },
      Object.keys(LEVELS).map((name) => h("option", { value: name }, LEVELS[name].label)),
    ),
    count: h("p", { class: "muted", role: "status" }),
    before: null,
  };
  log.search.addEventListener("input", () => sift(log));
  log.level.addEventListener("change", () => sift(log));
  log.view = h(
    "div",
    { class: "log", role: "log", "aria-live": "off", "aria-label": "Log of the job", tabindex: "0" },
    log.lines,
  );
  log.toggle.addEventListener("click", () => follow(log, !log.following));
  log.view.addEventListener("wheel", (event) => event.deltaY < 0 && log.view.scrollTop > 0 && follow(log, false), {
    passive: true,
  });
  log.view.addEventListener(
    "keydown",
    (event) => ["ArrowUp", "PageUp", "Home"].includes(event.key) && follow(log, false),
  );
  log.view.addEventListener(
    "scroll",
    () => !log.following && atEnd(log.view) && log.waiting.length === 0 && follow(log, true),
  );
  const element = h(
    "section",
    { class: "logs", "aria-labelledby": "log-title" },
    h("div", { class: "head" }, h("h2", { id: "log-title" }, "Log"), log.state, log.toggle),
    h(
      "div",
      { class: "filters" },
      h("label", { for: "log-search", class: "hidden" }, "Search the log"),
      log.search,
      h("label", { for: "log-level", class: "hidden" }, "Level"),
      log.level,
      log.count,
    ),
    log.view,
  );
  return { element, update: (job, active) => update(log, active) };
}

function update(log, active) {
  log.active = active;
  if (!log.reading && (active || !log.opened)) read(log).catch(() => {});
}

async function read(log) {
  log.reading = true;
  log.toggle.hidden = false;
  try {
    do {
      await visible(log.signal);
      await once(log);
    } while (log.active && !(await pause(AGAIN_MS, log.signal)));
    tell(log, log.lines.childElementCount + log.waiting.length ? "ended" : "No log was written.");
  } finally {
    log.reading = false;
    log.toggle.hidden = log.following;
  }
}

async function once(log) {
  try {
    if (log.lastId === null) log.lines.replaceChildren();
    if (log.lastId === null && !log.active) return await tail(log);
    const response = await api.logStream(log.id, log.lastId, MOST_LINES, AbortSignal.any([log.signal, hidden()]));
    log.opened = true;
    tell(log, "live");
    for await (const event of events(response)) {
      log.lastId = event.id ?? log.lastId;
      if (event.event === "end") return;
      if (event.event === "log") take(log, event.data);
      else log.onstatus();
    }
  } catch (error) {
    if (log.signal.aborted) throw error;
    if (!log.refused(error)) tell(log, log.active ? "connecting again …" : "The log cannot be read.");
  }
}

/** Aborts when the tab is hidden: a browser has six connections to a host for all its tabs, and a stream holds one. */
function hidden() {
  const gone = new AbortController();
  document.addEventListener("visibilitychange", () => gone.abort(), { once: true });
  return gone.signal;
}

/** The end of a log that does not grow: it may be long, and only its end is shown. */
async function tail(log) {
  const text = await api.logTail(log.id, MOST_LINES, log.signal);
  log.opened = true;
  if (text) take(log, text.replace(/\n$/, ""));
}

function take(log, text) {
  log.waiting.push(...text.split("\n"));
  if (log.waiting.length > MOST_LINES) log.waiting.splice(0, log.waiting.length - MOST_LINES);
  if (log.painting) return;
  log.painting = true;
  setTimeout(() => paint(log), 60);
}

function paint(log) {
  log.painting = false;
  if (!log.following) return say(log.toggle, `Follow (${log.waiting.length} new)`);
  const wanted = asked(log);
  log.lines.append(
    ...log.waiting.splice(0).map((text) => {
      log.before = parsed(text, log.before);
      return line(log.before, wanted);
    }),
  );
  while (log.lines.childElementCount > MOST_LINES) log.lines.firstElementChild.remove();
  tellCount(log, wanted);
  log.view.scrollTop = log.view.scrollHeight;
}

const asked = ({ search, level }) => ({ words: search.value.trim().toLowerCase(), level: level.value });

function line(found, wanted) {
  const element = h(
    "div",
    { class: LEVELS[found.level]?.mark, hidden: !fits(found, wanted) },
    found.time && [h("time", {}, found.time), " "],
    found.text || " ",
  );
  element.found_ = found;
  return element;
}

/** Shows the lines that fit what is asked, of all that are loaded. */
function sift(log) {
  const wanted = asked(log);
  for (const element of log.lines.children) element.hidden = !fits(element.found_, wanted);
  tellCount(log, wanted);
}

function tellCount(log, { words, level }) {
  const lines = [...log.lines.children];
  const shown = lines.filter(({ hidden }) => !hidden).length;
  say(log.count, words || level ? `${shown} of ${lines.length} lines` : "");
}

function follow(log, on) {
  if (log.following === on) return;
  log.following = on;
  log.toggle.setAttribute("aria-pressed", String(on));
  say(log.toggle, on ? "Pause" : "Follow");
  if (on) paint(log);
}

const tell = (log, state) => say(log.state, state);
const atEnd = (view) => view.scrollHeight - view.scrollTop - view.clientHeight < NEAR_END;
