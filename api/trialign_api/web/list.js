/** The list of jobs. Its filters live in the address, so that a reload and a shared link show the same. */

import { api } from "./api.js";
import { h, keyed, put, say } from "./dom.js";
import { ACTIVE, STATUSES, ago, done, duration, elapsed, isActive, moment, percent } from "./format.js";
import { chip, setChip } from "./chip.js";
import { poll } from "./poll.js";
import { problemBox } from "./problem.js";
import { MOST_RUNS } from "./compare.js";
import { may } from "./session.js";
import { COLUMNS, direction, sorted, turned } from "./sort.js";

const SECONDS = 4;
const PAGE = 50;
const SOME_ACTIVE = "active";
const TYPING_MS = 250;
const KINDS = ["train", "audit", "collect", "external"];

export function jobList(params, { signal, refused }) {
  const parts = skeleton(params);
  let pages = 1;
  const refresh = async () => {
    const { jobs, more } = await load(asked(parts), pages, signal);
    parts.problem.clear();
    Object.assign(parts, { jobs, hasMore: more });
    show(parts);
  };
  const polling = poll(refresh, SECONDS, { signal, onerror: (error) => refused(error) || parts.problem.show(error) });
  const changed = () => {
    pages = 1;
    remember(parts);
    polling.now();
  };
  let typing;
  parts.status.addEventListener("change", changed);
  parts.kind.addEventListener("change", changed);
  parts.reorder = (name) => {
    parts.order = turned(parts.order, name);
    remember(parts);
    show(parts);
  };
  parts.text.addEventListener("input", () => {
    clearTimeout(typing);
    typing = setTimeout(changed, TYPING_MS);
  });
  parts.more.addEventListener("click", () => {
    pages += 1;
    polling.now();
  });
  document.title = "Jobs · TriAlign";
  return parts.element;
}

/** What the server is asked for: `owner:ann` and `label:team=truth` of the text go there, other words filter its answer. */
function asked({ status, kind, text }) {
  const all = text.value.trim().split(/\s+/).filter(Boolean);
  const statuses = status.value === SOME_ACTIVE ? ACTIVE : [status.value].filter(Boolean);
  const named = all.flatMap((word) => {
    const [, name, key, value] = /^(owner|label):([^=]+)(?:=(.+))?$/.exec(word) ?? [];
    if (name === "owner") return [["owner", key]];
    return value ? [["label", `${key}:${value}`]] : [];
  });
  const words = all.filter((word) => !/^(owner|label):/.test(word)).map((word) => word.toLowerCase());
  const kinds = kind.value ? [["kind", kind.value]] : [];
  return { query: [...statuses.map((name) => ["status", name]), ...kinds, ...named], words };
}

async function load({ query, words }, pages, signal) {
  const jobs = [];
  let cursor = null;
  for (let page = 0; page < pages && (page === 0 || cursor); page += 1) {
    const answer = await api.jobs([...query, ["limit", PAGE], ...(cursor ? [["after", cursor]] : [])], signal);
    jobs.push(...answer.data);
    cursor = answer.next_cursor;
  }
  return { jobs: jobs.filter((job) => words.every((word) => about(job).includes(word))), more: Boolean(cursor) };
}

const about = (job) => [job.name, job.id, job.kind, job.owner, ...labels(job)].join(" ").toLowerCase();

/** Labels as words: 'team=truth'. */
export const labels = (job) => Object.entries(job.labels).map(([name, value]) => `${name}=${value}`);

function skeleton(params) {
  const status = h(
    "select",
    { id: "status" },
    h("option", { value: "" }, "Every status"),
    h("option", { value: SOME_ACTIVE }, "Active"),
    STATUSES.map((name) => h("option", { value: name }, capital(name))),
  );
  status.value = [SOME_ACTIVE, ...STATUSES].includes(params.get("status")) ? params.get("status") : "";
  const kind = h(
    "select",
    { id: "kind" },
    h("option", { value: "" }, "Every kind"),
    KINDS.map((name) => h("option", { value: name }, capital(name))),
  );
  kind.value = KINDS.includes(params.get("kind")) ? params.get("kind") : "";
  const text = h("input", {
    id: "text",
    type: "search",
    placeholder: "Name, owner:ann, label:team=truth",
    value: params.get("text") ?? "",
    autocomplete: "off",
    spellcheck: "false",
  });
  const parts = {
    status,
    kind,
    jobs: [],
    hasMore: false,
    order: params.get("sort") ?? "",
    ticked: new Set(),
    compare: h("a", { class: "button", hidden: true }),
    text,
    body: h("tbody"),
    empty: h("div", { class: "empty", hidden: true }),
    count: h("p", { class: "muted count", role: "status" }),
    more: h("button", { type: "button", hidden: true }, "Show more"),
    problem: problemBox(),
  };
  parts.table = h(
    "table",
    { class: "jobs" },
    h(
      "thead",
      {},
      h(
        "tr",
        {},
        h("th", { scope: "col" }, h("span", { class: "hidden" }, "Compare")),
        COLUMNS.map(([name, title]) =>
          h(
            "th",
            { scope: "col", "data-column": name },
            h("button", { type: "button", class: "sort", onclick: () => parts.reorder(name) }, title),
          ),
        ),
      ),
    ),
    parts.body,
  );
  parts.table.hidden = true;
  parts.element = h(
    "section",
    { "aria-labelledby": "title" },
    h("div", { class: "head" }, h("h1", { id: "title", tabindex: "-1" }, "Jobs"), parts.count),
    h(
      "form",
      { class: "filters", role: "search", onsubmit: (event) => event.preventDefault() },
      h("label", { for: "text", class: "hidden" }, "Filter by text"),
      text,
      h("label", { for: "status", class: "hidden" }, "Filter by status"),
      status,
      h("label", { for: "kind", class: "hidden" }, "Filter by kind"),
      kind,
      parts.compare,
      may("submit") && h("a", { class: "button", href: "#/new" }, "New job"),
    ),
    parts.problem.element,
    parts.table,
    parts.empty,
    parts.more,
  );
  return parts;
}

const capital = (word) => word[0].toUpperCase() + word.slice(1);

function remember({ status, kind, text, order }) {
  const now = { status: status.value, kind: kind.value, text: text.value.trim(), sort: order };
  const kept = Object.entries(now).filter(([, value]) => value);
  history.replaceState(null, "", kept.length ? `#/?${new URLSearchParams(kept)}` : "#/");
}

function show(parts) {
  const { hasMore: more, order } = parts;
  const jobs = sorted(parts.jobs, order);
  keyed(parts.body, jobs, (job) => job.id, (job) => row(job, parts), updateRow);
  for (const head of parts.table.querySelectorAll("[data-column]")) {
    const way = direction(order, head.dataset.column);
    if (way) head.setAttribute("aria-sort", way);
    else head.removeAttribute("aria-sort");
  }
  showTicked(parts);
  parts.table.hidden = jobs.length === 0;
  parts.more.hidden = !more;
  say(parts.count, count(jobs, more));
  parts.empty.hidden = jobs.length > 0;
  if (jobs.length === 0 && parts.empty.childElementCount === 0) put(parts.empty);
  if (jobs.length === 0) showEmpty(parts, more);
}

function count(jobs, more) {
  const active = jobs.filter(isActive).length;
  const shown = `${jobs.length}${more ? " or more" : ""} ${jobs.length === 1 && !more ? "job" : "jobs"}`;
  return jobs.length ? `${shown}${active ? `, ${active} active` : ""}` : "";
}

function tick({ ticked }, id, on) {
  if (on) ticked.add(id);
  else ticked.delete(id);
}

/** The way to the comparison, for the ticked jobs that the list still has. */
function showTicked({ ticked, jobs, compare }) {
  const there = jobs.filter(({ id }) => ticked.has(id)).map(({ id }) => id);
  compare.hidden = there.length < 2;
  compare.href = `#/compare?jobs=${there.slice(0, MOST_RUNS).join(",")}`;
  say(compare, there.length > MOST_RUNS ? `Compare the first ${MOST_RUNS}` : `Compare ${there.length}`);
}

function showEmpty({ empty, status, kind, text }, more) {
  const filtered = status.value || kind.value || text.value.trim();
  if (more) return put(empty, h("p", {}, "None of the jobs loaded so far has these words."));
  if (filtered) return put(empty, h("p", {}, "No job fits this filter."));
  return put(
    empty,
    h("p", {}, h("strong", {}, "No jobs yet.")),
    h("p", {}, "Submit one and it appears here:"),
    h("pre", { tabindex: "0" }, "trialign jobs submit jobs/train.yaml"),
  );
}

function row(job, parts) {
  const box = h("input", {
    type: "checkbox",
    "aria-label": `Compare ${job.name}`,
    onchange: () => {
      tick(parts, job.id, box.checked);
      showTicked(parts);
    },
  });
  box.checked = parts.ticked.has(job.id);
  const cells = {
    tick: h("td", { class: "tick" }, box),
    job: h(
      "td",
      { class: "name" },
      h("a", { href: `#/jobs/${encodeURIComponent(job.id)}` }, job.name),
      h("span", { class: "muted kind" }),
    ),
    status: h("td", {}, chip(job.status)),
    progress: h(
      "td",
      { class: "progress", "data-title": "Progress" },
      h("progress", { max: "1", "aria-label": `Progress of ${job.name}` }),
      h("span"),
    ),
    owner: h("td", { "data-title": "Owner" }),
    created: h("td", { "data-title": "Created", class: "nowrap" }, h("time")),
    time: h("td", { "data-title": "Time", class: "nowrap" }),
  };
  const element = h("tr", {}, Object.values(cells));
  element.cells_ = cells;
  return element;
}

function updateRow(element, job) {
  const cells = element.cells_;
  const time = cells.created.firstChild;
  say(cells.job.lastChild, [job.kind, ...labels(job)].join(" · "));
  setChip(cells.status.firstChild, job.status);
  showProgress(cells.progress, job);
  say(cells.owner, job.owner ?? "–");
  say(time, ago(job.created_at));
  time.dateTime = job.created_at;
  time.title = moment(job.created_at);
  say(cells.time, duration(elapsed(job)));
}

function showProgress(cell, job) {
  const [bar, text] = cell.children;
  const share = done(job);
  bar.hidden = share === null || !isActive(job);
  if (!bar.hidden) bar.value = share;
  if (job.status === "failed" && job.error) say(text, job.error.code);
  else
    say(
      text,
      share === null ? "–" : isActive(job) ? percent(share) : `${job.progress.step} of ${job.progress.steps} steps`,
    );
}
