/** What one can do with a job: each asks first, and says what will happen. */

import { api } from "./api.js";
import { announce, confirmed, h, keyed } from "./dom.js";
import { isActive } from "./format.js";
import { may } from "./session.js";

/** A job that came by `ray job submit` has no specification that the service could run again. */
const again = (job) => ["failed", "cancelled"].includes(job.status) && job.kind !== "external";

function whatCancelDoes({ status, resumable }) {
  if (["validating", "queued"].includes(status)) return "It has not started yet. You can resume it later.";
  if (resumable) return "It writes a checkpoint first and then ends. You can resume it later.";
  return "What it has done so far is not finished and may have to be done again.";
}

const ACTIONS = {
  cancel: {
    label: "Cancel",
    busy: "Cancelling …",
    danger: true,
    fits: (job) => isActive(job) && job.status !== "cancelling",
    title: "Cancel this job?",
    text: whatCancelDoes,
    yes: "Cancel the job",
    no: "Keep it running",
  },
  resume: {
    label: "Resume",
    busy: "Resuming …",
    fits: again,
    title: "Resume this job?",
    text: ({ resumable }) =>
      resumable
        ? "It goes on from its last checkpoint and keeps its history."
        : "It starts from the beginning and keeps its history.",
    yes: "Resume the job",
  },
  retry: {
    label: "Retry",
    busy: "Submitting …",
    fits: again,
    title: "Retry this job?",
    text: () => "A new job with the same specification starts from the beginning.",
    yes: "Start a new job",
  },
  remove: {
    label: "Delete",
    busy: "Deleting …",
    danger: true,
    fits: (job) => !isActive(job),
    title: "Delete this job?",
    text: () => "Its log and its metrics go, and it leaves the list. Its events stay, as the audit does.",
    option: "Its run folder too: checkpoints, adapter, report",
    yes: "Delete the job",
    run: (job, chosen) => api.remove(job.id, chosen),
  },
};

/** The buttons; `update(job, hasReport)` shows those that fit. `onchange(job)` gets the server's answer. */
export function actionButtons({ signal, onstart, onchange, onerror }) {
  const element = h("div", { class: "actions" });
  let job = null;
  const act = async (name, button) => {
    const answer = await confirmed({ ...ACTIONS[name], text: ACTIONS[name].text(job) }, signal);
    if (answer === null) return;
    onstart();
    button.disabled = true;
    button.textContent = ACTIONS[name].busy;
    try {
      const { run = () => api.act(job.id, name) } = ACTIONS[name];
      onchange(await run(job, answer.chosen));
      announce(`${ACTIONS[name].label}: done.`);
    } catch (error) {
      onerror(error);
    }
    button.disabled = false;
    button.textContent = ACTIONS[name].label;
  };
  return {
    element,
    update: (now, hasReport) => {
      job = now;
      keyed(
        element,
        offered(job, hasReport),
        (offer) => offer.key,
        (offer) => make(offer, act, job),
        () => {},
      );
    },
  };
}

function offered(job, hasReport) {
  const links = [hasReport && { key: "report" }, may("submit") && job.kind !== "external" && { key: "clone" }];
  const actions = may("submit") ? Object.keys(ACTIONS).filter((name) => ACTIONS[name].fits(job)) : [];
  return [...links.filter(Boolean), ...actions.map((name) => ({ key: name }))];
}

function make({ key }, act, job) {
  if (key === "report")
    return h("a", { class: "button primary", href: `#/jobs/${encodeURIComponent(job.id)}/report` }, "Read the report");
  if (key === "clone") return h("a", { class: "button", href: `#/new?from=${encodeURIComponent(job.id)}` }, "Clone");
  const { label, danger } = ACTIONS[key];
  return h(
    "button",
    { type: "button", class: danger ? "danger" : null, onclick: (event) => act(key, event.currentTarget) },
    label,
  );
}
