/** A new job, or a clone of one with changes: its specification as JSON, checked and then submitted. */

import { api, Problem } from "./api.js";
import { differences } from "./diff.js";
import { announce, h, put } from "./dom.js";
import { problemBox } from "./problem.js";
import { planRows, rows } from "./spec.js";

const EXAMPLE = {
  kind: "audit",
  name: "my-audit",
  model: "/data/models/my-model",
  questions: "/data/questions.yaml",
  groups: "/data/groups.yaml",
};

/** `#/new`, `#/new?from=JOB`. */
export function submitPage(params, { signal, refused }) {
  const view = {
    signal,
    refused,
    original: null,
    labels: {},
    problem: problemBox(),
    text: h("textarea", { id: "spec", rows: "18", spellcheck: "false", "aria-describedby": "spec-note" }),
    changes: h("dl", { class: "details", "aria-label": "Changes" }),
    plan: h("dl", { class: "details card", "aria-label": "Plan", hidden: true }),
    check: h("button", { type: "button" }, "Check"),
    submit: h("button", { type: "submit", class: "primary" }, "Submit"),
  };
  view.text.addEventListener("input", () => showChanges(view));
  view.check.addEventListener("click", () => run(view, view.check, check));
  const from = params.get("from");
  document.title = "New job · TriAlign";
  if (from) load(view, from).catch((error) => signal.aborted || refused(error) || view.problem.show(error));
  else view.text.value = JSON.stringify(EXAMPLE, null, 2);
  return layout(view, from);
}

function layout(view, from) {
  const submit = (event) => {
    event.preventDefault();
    run(view, view.submit, send);
  };
  return h(
    "form",
    { class: "submit", "aria-labelledby": "title", onsubmit: submit },
    h("a", { class: "back", href: from ? `#/jobs/${encodeURIComponent(from)}` : "#/" }, from ? "← Job" : "← Jobs"),
    h("div", { class: "head" }, h("h1", { id: "title", tabindex: "-1" }, from ? "Clone with changes" : "New job")),
    view.problem.element,
    h("label", { for: "spec" }, "Specification"),
    view.text,
    h("p", { class: "muted", id: "spec-note" }, "JSON, with the fields of a specification file. Paths are the cluster’s."),
    view.changes,
    h("div", { class: "actions" }, view.submit, view.check),
    view.plan,
  );
}

async function load(view, id) {
  const { spec, labels } = await api.job(id, view.signal);
  view.original = spec;
  view.labels = labels;
  // The original's run folder is taken, so the clone needs a name of its own.
  view.text.value = JSON.stringify({ ...spec, name: `${spec.name}-2` }, null, 2);
  showChanges(view);
}

function showChanges({ original, text, changes }) {
  if (original === null) return;
  let now;
  try {
    now = JSON.parse(text.value);
  } catch {
    return;
  }
  put(changes, rows(differences([original, now]).map(({ name, values }) => [name, values.join(" → ")])));
}

async function run(view, button, task) {
  view.problem.clear();
  view.plan.hidden = true;
  button.disabled = true;
  try {
    await task(view, { spec: parsed(view.text.value), labels: view.labels });
  } catch (error) {
    if (!view.signal.aborted && !view.refused(error)) view.problem.show(error);
  }
  button.disabled = false;
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new Problem({ title: "This is not JSON", detail: error.message });
  }
}

async function check(view, body) {
  const { plan } = await api.validate(body);
  put(view.plan, rows([["check", "passed"], ...planRows(plan)]));
  view.plan.hidden = false;
  announce("The specification is right.");
}

async function send(view, body) {
  const job = await api.submit(body);
  location.hash = `#/jobs/${encodeURIComponent(job.id)}`;
}
