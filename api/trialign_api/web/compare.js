/** Several runs over one another: their curves, their figures before and after, and what was asked differently. */

import { api } from "./api.js";
import { lineChart, swatch } from "./chart.js";
import { chip } from "./chip.js";
import { MOST_POINTS, SINGLE_CHARTS } from "./curves.js";
import { differences } from "./diff.js";
import { h, put } from "./dom.js";
import { isNumber, number, percent } from "./format.js";
import { METRICS, sidesOf } from "./outcome.js";
import { problemBox } from "./problem.js";
import { reduced } from "./scale.js";

export const MOST_RUNS = 8;

const of = (read) => (row) => {
  const values = Object.values(row.groups ?? {}).map((group) => group.mass_right).filter(isNumber);
  return values.length ? read(values) : null;
};
const CHARTS = [
  {
    title: "Accuracy, mean of the groups",
    note: "Weight of right answers under the policy, among the answers of the step.",
    read: of((values) => values.reduce((sum, value) => sum + value, 0) / values.length),
    write: percent,
    share: true,
    floor: 0,
    ceiling: 1,
  },
  {
    title: "Accuracy of the worst group",
    note: "The lowest of the same, step by step.",
    read: of((values) => Math.min(...values)),
    write: percent,
    share: true,
    floor: 0,
    ceiling: 1,
  },
  ...SINGLE_CHARTS.map(({ field, ...chart }) => ({ ...chart, small: false, read: (row) => row[field] })),
];

/** `#/compare?jobs=A,B`. */
export function comparePage(params, { signal, refused }) {
  const ids = [...new Set((params.get("jobs") ?? "").split(",").filter(Boolean))].slice(0, MOST_RUNS);
  const problem = problemBox();
  const body = h("div", { class: "rest" }, h("p", { class: "muted", role: "status" }, "Reading the runs …"));
  document.title = "Compare · TriAlign";
  if (ids.length < 2) put(body, h("p", { class: "empty card" }, "Tick two jobs or more in the list, then compare them."));
  else
    Promise.all(ids.map((id) => runOf(id, signal)))
      .then((runs) => put(body, ...shown(runs)))
      .catch((error) => {
        if (signal.aborted || refused(error)) return;
        put(body);
        problem.show(error);
      });
  return h(
    "article",
    { "aria-labelledby": "title" },
    h("a", { class: "back", href: "#/" }, "← Jobs"),
    h("div", { class: "head" }, h("h1", { id: "title", tabindex: "-1" }, "Runs compared")),
    problem.element,
    body,
  );
}

/** A job with its metrics, and its report where there is one that can be read. */
async function runOf(id, signal) {
  const [job, { data: metrics }] = await Promise.all([
    api.job(id, signal),
    api.metrics(id, { after: -1, points: MOST_POINTS }, signal),
  ]);
  const report = await api.report(id, signal).catch((error) => {
    if (signal.aborted) throw error;
    return null;
  });
  return { job, metrics, report };
}

function shown(runs) {
  const names = distinct(runs.map(({ job }) => job));
  return [
    h("ul", { class: "runs card" }, runs.map(({ job }, index) => runItem(job, names[index], index))),
    figures(runs, names),
    changed(runs, names),
    h(
      "section",
      { "aria-labelledby": "curves-title" },
      h("div", { class: "head" }, h("h2", { id: "curves-title" }, "Training")),
      h("div", { class: "charts two" }, CHARTS.map((chart) => curve(chart, runs, names))),
    ),
  ];
}

/** Names of runs; those that two have with the end of the job's id. */
function distinct(jobs) {
  const count = (name) => jobs.filter((job) => job.name === name).length;
  return jobs.map(({ name, id }) => (count(name) > 1 ? `${name} ${id.slice(-4)}` : name));
}

function runItem(job, name, index) {
  return h(
    "li",
    {},
    h("span", { class: `series-${index}` }, swatch(index)),
    h("a", { href: `#/jobs/${encodeURIComponent(job.id)}` }, name),
    h("span", { class: "muted" }, `${job.kind}, by ${job.owner}`),
    chip(job.status),
  );
}

function curve({ read, ...options }, runs, names) {
  const found = runs.map(({ metrics }) => metrics.filter((row) => isNumber(read(row))));
  if (found.every((rows) => rows.length === 0)) return null;
  const chart = lineChart(options);
  const all = [...new Set(found.flatMap((rows) => rows.map(({ step }) => step)))].sort((a, b) => a - b);
  const steps = all.filter((_, i) => i % Math.ceil(all.length / MOST_POINTS) === 0 || i === all.length - 1);
  const series = found.map((rows, index) => {
    const window = Math.max(1, Math.round(rows.length / 15));
    return { name: names[index], index, values: along(steps, rows, reduced(rows.map(read), { window, most: Infinity })) };
  });
  chart.update({ steps, series });
  return chart.element;
}

/** Of each step the last value at or before it; null outside of the run. */
function along(steps, rows, values) {
  let at = -1;
  return steps.map((step) => {
    while (at + 1 < rows.length && rows[at + 1].step <= step) at += 1;
    return at < 0 || step > rows.at(-1).step ? null : values[at];
  });
}

function figures(runs, names) {
  const sides = runs.map(({ report }) => readable(report));
  const shownMetrics = METRICS.filter(({ name }) => sides.some((each) => each?.some(({ audit }) => audit[name])));
  if (shownMetrics.length === 0) return null;
  return table(
    "Figures",
    ["", ...names],
    shownMetrics.map(({ name, label }) => [label, ...sides.map((each) => figure(each, name))]),
  );
}

/** The sides of a report; null where there is none, or none that can be read. */
function readable(report) {
  try {
    return report && sidesOf(report).filter(({ audit }) => audit);
  } catch {
    return null;
  }
}

function figure(sides, name) {
  const found = (sides ?? []).map(({ audit }) => audit[name]).filter(Boolean);
  const last = found.at(-1);
  if (!last) return "–";
  const before = found.length > 1 ? h("span", { class: "muted" }, `${percent(found[0].value, 1)} → `) : null;
  const interval = `${number(100 * last.low, 1)} to ${number(100 * last.high, 1)}`;
  return [before, h("b", {}, percent(last.value, 1)), h("span", { class: "muted interval" }, interval)];
}

function changed(runs, names) {
  const found = differences(runs.map(({ job }) => job.spec));
  if (found.length === 0) return h("p", { class: "muted" }, "Their specifications are the same.");
  return table(
    "What was asked differently",
    ["Field", ...names],
    found.map(({ name, values }) => [h("code", {}, name), ...values]),
  );
}

function table(title, head, rows) {
  return h(
    "section",
    { "aria-label": title },
    h("div", { class: "head" }, h("h2", {}, title)),
    h(
      "div",
      { class: "card scroll", tabindex: "0", role: "region", "aria-label": title },
      h(
        "table",
        { class: "compared" },
        h("thead", {}, h("tr", {}, head.map((text) => h("th", { scope: "col" }, text)))),
        h(
          "tbody",
          {},
          rows.map(([first, ...rest]) =>
            h("tr", {}, h("th", { scope: "row" }, first), rest.map((cell) => h("td", {}, cell))),
          ),
        ),
      ),
    ),
  );
}
