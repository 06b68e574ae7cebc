/** How training goes: what each group gets right and what it weighs, and the terms of the objective, over steps. */

import { h, keyed, say } from "./dom.js";
import { isNumber, number, percent, whole } from "./format.js";
import { lineChart, swatch } from "./chart.js";
import { reduced } from "./scale.js";

/** Of a chart; so no more rows of a run are read at once. */
export const MOST_POINTS = 500;
const SMOOTH_FROM = 30;
const SMOOTH_SHARE = 1 / 15;

const thousandths = (value, digits = 3) => number(value, digits);

const GROUP_CHARTS = [
  {
    field: "mass_right",
    title: "Accuracy by group",
    note: "Weight of right answers under the policy, among the answers of the step.",
    write: percent,
    share: true,
    floor: 0,
    ceiling: 1,
  },
  {
    field: "weight",
    title: "Fairness weight by group",
    note: "How much a group’s gradient counts; a group served less weighs more.",
    write: number,
    reference: 1,
    floor: 0,
  },
];
export const SINGLE_CHARTS = [
  {
    field: "penalty",
    title: "Inconsistency penalty",
    note: "Chance that two groups get different answers.",
    write: thousandths,
  },
  { field: "kl", title: "Distance to the reference", note: "KL divergence, in nats.", write: thousandths },
  {
    field: "learning_rate",
    title: "Learning rate",
    note: "Of the optimizer, after warm-up and decay.",
    write: (value) => (isNumber(value) ? value.toExponential(1).replace("-", "−") : "–"),
  },
  { field: "grad_norm", title: "Gradient norm", note: "Before it is clipped.", write: thousandths, floor: 0 },
  {
    field: "tokens_per_second",
    title: "Tokens a second",
    note: "Response tokens that are trained, over all workers.",
    write: whole,
    floor: 0,
  },
  { field: "loss", title: "Loss", note: "Of the whole objective.", write: thousandths },
].map((chart) => ({ ...chart, small: true }));

/** The panel; `update(rows)` takes the metrics, one object a step, in order. */
export function curves() {
  const panel = {
    rows: [],
    smoothing: null,
    pinned: new Set(),
    groupCharts: GROUP_CHARTS.map((options) => ({ field: options.field, chart: lineChart(options) })),
    singleCharts: SINGLE_CHARTS.map((options) => ({ field: options.field, chart: lineChart(options) })),
    legend: h("ul", { class: "legend", "aria-label": "Groups: choose those to bring out" }),
    smooth: h("input", { type: "checkbox", id: "smooth" }),
    latest: h("p", { class: "muted latest" }),
  };
  panel.smooth.addEventListener("change", () => {
    panel.smoothing = panel.smooth.checked;
    show(panel);
  });
  panel.element = layout(panel);
  return { element: panel.element, update: (rows) => update(panel, rows) };
}

function layout({ legend, smooth, latest, groupCharts, singleCharts }) {
  const elements = (charts) => charts.map(({ chart }) => chart.element);
  return h(
    "section",
    { class: "curves", "aria-labelledby": "curves-title", hidden: true },
    h(
      "div",
      { class: "head" },
      h("h2", { id: "curves-title" }, "Training"),
      latest,
      h("label", { class: "check" }, smooth, "Smooth"),
    ),
    legend,
    h("div", { class: "charts two" }, elements(groupCharts)),
    h("div", { class: "charts three" }, elements(singleCharts)),
  );
}

function update(panel, rows) {
  panel.rows = rows;
  panel.element.hidden = panel.rows.length === 0;
  if (panel.rows.length === 0) return;
  panel.smooth.checked = panel.smoothing ?? panel.rows.length >= SMOOTH_FROM;
  show(panel);
}

function show(panel) {
  const { rows, groupCharts, singleCharts } = panel;
  const groups = [...new Set(rows.flatMap((row) => Object.keys(row.groups ?? {})))];
  const window = panel.smooth.checked ? Math.max(2, Math.round(rows.length * SMOOTH_SHARE)) : 1;
  const values = (read) =>
    reduced(
      rows.map((row) => orNull(read(row))),
      { window, most: MOST_POINTS },
    );
  const steps = everyLast(rows.map(({ step }) => step));
  for (const { field, chart } of groupCharts)
    chart.update({
      steps,
      series: groups.map((name, index) => ({ name, index, values: values((row) => row.groups?.[name]?.[field]) })),
    });
  for (const { field, chart } of singleCharts) {
    chart.update({ steps, series: [{ name: chart.title, index: 0, values: values((row) => row[field]) }] });
    chart.element.hidden = rows.every((row) => !isNumber(row[field]));
  }
  showLegend(panel, groups);
  say(panel.latest, summary(rows.at(-1)));
}

const orNull = (value) => (isNumber(value) ? value : null);

export function everyLast(steps) {
  const stretch = Math.ceil(steps.length / MOST_POINTS);
  return steps.filter((_, i) => i % stretch === stretch - 1 || i === steps.length - 1);
}

function summary({ step, tokens_per_second, seconds }) {
  const parts = [
    `Step ${whole(step)}`,
    isNumber(seconds) && `${number(seconds, 1)} s a step`,
    isNumber(tokens_per_second) && `${whole(tokens_per_second)} tokens/s`,
  ];
  return parts.filter(Boolean).join(" · ");
}

function showLegend(panel, groups) {
  const latest = panel.rows.at(-1).groups ?? {};
  keyed(
    panel.legend,
    groups,
    (name) => name,
    (name) => legendItem(panel, name, groups.indexOf(name)),
    (item, name) => {
      say(item.querySelector(".now"), percent(latest[name]?.mass_right));
      say(item.querySelector(".weight"), `×${number(latest[name]?.weight)}`);
    },
  );
}

function legendItem(panel, name, index) {
  const bring = (names) => panel.groupCharts.forEach(({ chart }) => chart.highlight(names));
  const button = h(
    "button",
    {
      type: "button",
      "aria-pressed": "false",
      onclick: () => {
        const on = panel.pinned.delete(name) ? false : Boolean(panel.pinned.add(name));
        button.setAttribute("aria-pressed", String(on));
        bring(panel.pinned);
      },
      onpointerenter: () => bring(new Set([...panel.pinned, name])),
      onpointerleave: () => bring(panel.pinned),
    },
    swatch(index),
    h("span", { class: "who" }, name),
    h("span", { class: "now muted" }),
    h("span", { class: "weight muted", title: "Fairness weight" }),
  );
  return h("li", {}, button);
}
