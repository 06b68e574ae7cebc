/** One job, live. */

import { actionButtons } from "./actions.js";
import { api, Problem, rows } from "./api.js";
import { chip, setChip } from "./chip.js";
import { heard } from "./cluster.js";
import { curves } from "./curves.js";
import { announce, h, put, say } from "./dom.js";
import { ago, done, duration, elapsed, isActive, isNumber, moment, percent } from "./format.js";
import { checkpointList, eventList } from "./history.js";
import { labels } from "./list.js";
import { logTail } from "./log.js";
import { outcome } from "./outcome.js";
import { poll } from "./poll.js";
import { problemBox } from "./problem.js";

const SECONDS = 2;
const SECONDS_ENDED = 10;
const RECENT_STEPS = 20;

export function jobPage(id, { signal, refused }) {
  const view = {
    id, signal, refused, job: null, metrics: [], seen: {},
    problem: problemBox(), refusal: problemBox(), failure: problemBox(),
    title: h("h1", { id: "title", tabindex: "-1" }, "Job"),
    status: chip("queued"), facts: h("p", { class: "muted facts" }),
    bar: h("progress", { max: "1", "aria-labelledby": "left" }), left: h("p", { class: "left", id: "left" }),
    outcome: outcome(), curves: curves(), events: eventList(), checkpoints: checkpointList(),
    log: logTail(id, { signal, refused }), details: h("dl", { class: "details card" }),
  };
  view.actions = actionButtons({
    onchange: (job) => (job.id === id ? view.polling.now() : (location.hash = `#/jobs/${encodeURIComponent(job.id)}`)),
    onstart: () => view.refusal.clear(),
    onerror: (error) => refused(error) || view.refusal.show(error),
  });
  view.polling = poll(() => refresh(view), SECONDS, { signal, onerror: (error) => refused(error) || failed(view, error) });
  document.addEventListener("cluster", () => view.job && showDetails(view), { signal });
  document.title = "Job · TriAlign";
  return layout(view);
}

function layout(view) {
  view.status.hidden = true;
  view.progress = h("div", { class: "running", hidden: true }, view.bar, view.left);
  view.rest = h("div", { class: "rest", hidden: true }, view.failure.element, view.progress, view.outcome.element, view.curves.element,
    h("div", { class: "pair" }, view.events.element, view.log.element),
    h("div", { class: "pair" }, view.checkpoints.element,
      h("section", { "aria-labelledby": "details-title" }, h("div", { class: "head" }, h("h2", { id: "details-title" }, "Details")), view.details)));
  return h("article", { "aria-labelledby": "title" }, h("a", { class: "back", href: "#/" }, "← Jobs"),
    h("div", { class: "head job" }, h("div", { class: "who" }, h("div", { class: "named" }, view.title, view.status), view.facts), view.actions.element),
    view.problem.element, view.refusal.element, view.rest);
}

function failed(view, error) {
  view.problem.show(error);
  if (view.job === null) say(view.title, Problem.of(error).status === 404 ? "No such job" : "Job");
}

/** Reads the job, and of the rest only what can have changed since. */
async function refresh(view) {
  const job = await api.job(view.id, view.signal);
  if (view.job && !isActive(job) && Date.now() - view.seen.whole < SECONDS_ENDED * 1000 && job.status === view.job.status) return;
  const parts = [[view.events, api.events], [view.checkpoints, api.checkpoints]];
  const [events, checkpoints] = await Promise.all(parts.map(([, read]) => read(view.id, view.signal)));
  view.events.update(rows(events));
  view.checkpoints.update(rows(checkpoints));
  await refreshFigures(view, job);
  view.seen.whole = Date.now();
  view.problem.clear();
  show(view, job);
}

async function refreshFigures(view, job) {
  const mark = `${job.status} ${job.progress?.step}`;
  if (job.kind === "train" && view.seen.figures !== mark) {
    await readMetrics(view);
  }
  if (job.status === "succeeded" && job.kind !== "collect" && !view.seen.report) await readReport(view);
  view.seen.figures = mark;
}

async function readMetrics(view) {
  const { data, next } = await api.metrics(view.id, view.seen.metrics ?? 0, view.signal);
  view.seen.metrics = next;
  if (data.length === 0) return;
  view.metrics.push(...data);
  view.curves.update(view.metrics);
}

/** A run without an evaluation has no report: that is not an error. */
async function readReport(view) {
  try {
    view.outcome.update(await api.report(view.id, view.signal));
    view.seen.report = true;
  } catch (error) {
    if (Problem.of(error).status !== 404) throw error;
    view.seen.report = true;
  }
}

function show(view, job) {
  if (view.job && view.job.status !== job.status) announce(`${job.name} is now ${job.status}.`);
  view.job = job;
  view.rest.hidden = false;
  view.status.hidden = false;
  say(view.title, job.name);
  setChip(view.status, job.status);
  say(view.facts, [job.kind, `by ${job.owner}`, `created ${ago(job.created_at)}`, ran(job)].filter(Boolean).join(" · "));
  view.actions.update(job);
  view.log.update(job, isActive(job));
  if (job.error) view.failure.show(new Problem({ title: "This job failed", detail: job.error.message, code: job.error.code }));
  else view.failure.clear();
  showProgress(view, job);
  showDetails(view);
  document.title = `${isActive(job) && done(job) !== null ? `${percent(done(job))} ` : ""}${job.name}, ${job.status} · TriAlign`;
}

function ran(job) {
  const seconds = elapsed(job);
  return seconds === null ? "" : `${job.ended_at ? "ran" : "running for"} ${duration(seconds)}`;
}

const WAITING = {
  validating: "The specification and its data are being checked.",
  queued: "Waiting for a place on the cluster.",
  starting: "The cluster is making room for it.",
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
  const seconds = metrics.slice(-RECENT_STEPS).map((row) => row.seconds).filter(isNumber).sort((a, b) => a - b);
  const left = (job.progress?.steps ?? 0) - (job.progress?.step ?? 0);
  if (seconds.length === 0 || left < 0) return "Running.";
  return left === 0 ? "Finishing." : `about ${duration(left * seconds[seconds.length >> 1])} left`;
}

/** Only where something differs, so that a link that has the focus keeps it. */
function showDetails({ job, details: list, seen }) {
  const mark = JSON.stringify([heard.dashboard, job.status, job.submission_id, job.attempt, job.retries_used, job.started_at, job.ended_at]);
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
  ].filter(Boolean).map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value)));
}

function dashboardLink(dashboard, submission) {
  const href = `${dashboard.replace(/\/+$/, "")}/#/jobs/${encodeURIComponent(submission)}`;
  return h("a", { href, target: "_blank", rel: "noopener noreferrer" }, "This job there");
}

/** Only addresses of the web become links. */
const web = (address) => /^https?:\/\//i.test(address ?? "");
