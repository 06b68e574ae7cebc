/** One job, live. */

import { actionButtons } from "./actions.js";
import { api, Problem } from "./api.js";
import { chip, setChip } from "./chip.js";
import { heard } from "./cluster.js";
import { MOST_POINTS, curves } from "./curves.js";
import { announce, h, put, say } from "./dom.js";
import { ago, done, duration, elapsed, estimate, isActive, isNumber, moment, percent } from "./format.js";
import { fileList } from "./files.js";
import { checkpointList, eventList } from "./history.js";
import { labels } from "./list.js";
import { logTail } from "./log.js";
import { outcome } from "./outcome.js";
import { poll } from "./poll.js";
import { problemBox } from "./problem.js";
import { specPanel } from "./spec.js";
import { splitPanel } from "./split.js";

const SECONDS = 2;
const RECENT_STEPS = 20;

export function jobPage(id, { signal, refused }) {
  const view = {
    id,
    signal,
    refused,
    job: null,
    metrics: [],
    happened: [],
    files: new Set(),
    seen: {},
    problem: problemBox(),
    refusal: problemBox(),
    failure: problemBox(),
    title: h("h1", { id: "title", tabindex: "-1" }, "Job"),
    status: chip("queued"),
    facts: h("p", { class: "muted facts" }),
    bar: h("progress", { max: "1", "aria-labelledby": "left" }),
    left: h("p", { class: "left", id: "left" }),
    outcome: outcome(),
    split: splitPanel(),
    unread: problemBox(),
    spec: specPanel(),
    curves: curves(),
    events: eventList(),
    checkpoints: checkpointList(),
    artifacts: fileList(id, { signal, onerror: (error) => refused(error) || view.refusal.show(error) }),
    log: logTail(id, { signal, refused, onstatus: () => view.polling.now() }),
    details: h("dl", { class: "details card" }),
  };
  view.actions = actionButtons({
    signal,
    onchange: (changed) => {
      if (changed.object === "deleted") location.hash = "#/";
      else if (changed.id === id) view.polling.now();
      else location.hash = `#/jobs/${encodeURIComponent(changed.id)}`;
    },
    onstart: () => view.refusal.clear(),
    onerror: (error) => refused(error) || view.refusal.show(error),
  });
  view.polling = poll(() => refresh(view), SECONDS, {
    signal,
    onerror: (error) => refused(error) || failed(view, error),
  });
  document.addEventListener("cluster", () => view.job && showDetails(view), { signal });
  document.title = "Job · TriAlign";
  return layout(view);
}

function layout(view) {
  view.status.hidden = true;
  view.progress = h("div", { class: "running", hidden: true }, view.bar, view.left);
  view.rest = h(
    "div",
    { class: "rest", hidden: true },
    view.failure.element,
    view.progress,
    view.unread.element,
    view.outcome.element,
    view.split.element,
    view.curves.element,
    h("div", { class: "pair" }, view.events.element, view.log.element),
    h(
      "div",
      { class: "pair" },
      h("div", { class: "stack" }, view.checkpoints.element, view.artifacts.element),
      h(
        "section",
        { "aria-labelledby": "details-title" },
        h("div", { class: "head" }, h("h2", { id: "details-title" }, "Details")),
        view.details,
      ),
    ),
    view.spec.element,
  );
  return h(
    "article",
    { "aria-labelledby": "title" },
    h("a", { class: "back", href: "#/" }, "← Jobs"),
    h(
      "div",
      { class: "head job" },
      h("div", { class: "who" }, h("div", { class: "named" }, view.title, view.status), view.facts),
      view.actions.element,
    ),
    view.problem.element,
    view.refusal.element,
    view.rest,
  );
}

function failed(view, error) {
  view.problem.show(error);
  if (view.job === null) say(view.title, Problem.of(error).status === 404 ? "No such job" : "Job");
}

/** Reads the job, and of the rest only what can have changed since. */
async function refresh(view) {
  const job = await api.job(view.id, view.signal);
  await readEvents(view);
  view.problem.clear();
  show(view, job);
  const mark = `${job.status} ${job.attempt} ${job.progress?.step}`;
  if (view.seen.mark === mark) return;
  await readRun(view, job);
  view.seen.mark = mark;
  show(view, job);
}

async function readEvents(view) {
  for (let more = true; more;) {
    const { data, has_more } = await api.events(view.id, view.happened.at(-1)?.seq ?? 0, view.signal);
    view.happened.push(...data);
    more = has_more;
  }
  view.events.update(view.happened);
}

async function readRun(view, job) {
  const [checkpoints, artifacts] = await Promise.all([
    api.checkpoints(view.id, view.signal),
    api.artifacts(view.id, view.signal),
    readMetrics(view, job),
  ]);
  view.checkpoints.update(checkpoints.data);
  view.artifacts.update(artifacts.data);
  view.files = new Set(artifacts.data.map(({ name }) => name));
  if (!isActive(job) && view.files.has("report.json")) await readReport(view);
}

/** A report that cannot be read, or is not what a report is, hides nothing else. */
async function readReport(view) {
  view.unread.clear();
  const failed = (error) => {
    if (view.signal.aborted) throw error;
    if (!view.refused(error))
      view.unread.show(new Problem({ title: "The report cannot be shown", detail: Problem.of(error).detail }));
  };
  const report = await api.report(view.id, view.signal).catch(failed);
  for (const panel of report ? [view.outcome, view.split] : [])
    try {
      panel.update(report);
    } catch (error) {
      failed(error);
    }
}

/**
 * Rows spread over the run, and then those that are new. All again when the new ones crowd its end, and after a new
 * attempt, which may have gone back to a checkpoint.
 */
async function readMetrics(view, job) {
  if (view.seen.attempt !== job.attempt || view.metrics.length >= 2 * MOST_POINTS) view.metrics = [];
  view.seen.attempt = job.attempt;
  const after = view.metrics.at(-1)?.step ?? -1;
  const { data } = await api.metrics(view.id, { after, points: MOST_POINTS }, view.signal);
  view.metrics.push(...data);
  view.curves.update(view.metrics);
}

function show(view, job) {
  if (view.job && view.job.status !== job.status) announce(`${job.name} is now ${job.status}.`);
  view.job = job;
  view.rest.hidden = false;
  view.status.hidden = false;
  say(view.title, job.name);
  setChip(view.status, job.status);
  say(
    view.facts,
    [job.kind, `by ${job.owner}`, `created ${ago(job.created_at)}`, ran(job)].filter(Boolean).join(" · "),
  );
  view.actions.update(job, view.files.has("report.html"));
  view.log.update(job, isActive(job));
  if (job.error)
    view.failure.show(new Problem({ title: "This job failed", detail: job.error.message, code: job.error.code }));
  else view.failure.clear();
  showProgress(view, job);
  showDetails(view);
  view.spec.update(job, view.happened);
  document.title = `${isActive(job) && done(job) !== null ? `${percent(done(job))} ` : ""}${job.name}, ${job.status} · TriAlign`;
}

function ran(job) {
  const seconds = elapsed(job);
  return seconds === null || seconds < 0 ? "" : `${job.ended_at ? "ran" : "running for"} ${duration(seconds)}`;
}

const WAITING = {
  validating: "The specification and its data are being checked.",
  queued: "Waiting for free cluster resources.",
  starting: "The cluster is starting the job.",
  cancelling: "Writing a checkpoint before it ends.",
};

function showProgress(view, job) {
  const share = done(job);
  view.progress.hidden = !isActive(job);
  if (share === null) view.bar.removeAttribute("value");
  else view.bar.value = share;
  const where = share === null ? "" : `Step ${job.progress.step} of ${job.progress.steps} · ${percent(share)}`;
  say(view.left, [where, WAITING[job.status] ?? timeLeft(view, job)].filter(Boolean).join(" · "));
}

/** From the seconds of the last steps; before there are any, nothing is promised. */
function timeLeft({ metrics }, job) {
  const seconds = metrics
    .slice(-RECENT_STEPS)
    .map((row) => row.seconds)
    .filter(isNumber)
    .sort((a, b) => a - b);
  const left = (job.progress?.steps ?? 0) - (job.progress?.step ?? 0);
  if (seconds.length === 0 || left < 0) return "Running.";
  return left === 0 ? "Finishing." : `about ${estimate(left * seconds[seconds.length >> 1])} left`;
}

/** Only where something differs, so that a link that has the focus keeps it. */
function showDetails({ job, details: list, seen }) {
  const mark = JSON.stringify([
    heard.dashboard,
    job.status,
    job.submission_id,
    job.attempt,
    job.retries_used,
    job.started_at,
    job.ended_at,
  ]);
  if (seen.details === mark) return;
  seen.details = mark;
  put(list, details(job, heard.dashboard));
}

function details(job, dashboard) {
  return [
    ["Job", h("code", {}, job.id)],
    labels(job).length > 0 && ["Labels", labels(job).join(", ")],
    ["Created", moment(job.created_at)],
    job.started_at && ["Started", moment(job.started_at)],
    job.ended_at && ["Ended", moment(job.ended_at)],
    ["Attempt", `${job.attempt}; ${job.retries_used} of ${job.retries} automatic retries used`],
    job.retry_of && ["Retry of", h("a", { href: `#/jobs/${encodeURIComponent(job.retry_of)}` }, job.retry_of)],
    job.submission_id && ["Ray submission", h("code", {}, job.submission_id)],
    job.submission_id && web(dashboard) && ["Ray dashboard", dashboardLink(dashboard, job.submission_id)],
  ]
    .filter(Boolean)
    .map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value)));
}

function dashboardLink(dashboard, submission) {
  const href = `${dashboard.replace(/\/+$/, "")}/#/jobs/${encodeURIComponent(submission)}`;
  return h("a", { href, target: "_blank", rel: "noopener noreferrer" }, "This job there");
}

/** Only addresses of the web become links. */
const web = (address) => /^https?:\/\//i.test(address ?? "");
