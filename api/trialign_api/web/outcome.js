/** What the run changed: figures of the report before and after, each with its 95 % interval. */

import { h, put, s } from "./dom.js";
import { isNumber, number, percent, signed } from "./format.js";
import { extent, linear } from "./scale.js";

export const METRICS = [
  {
    name: "correct_unanimity",
    label: "Right for everyone",
    better: 1,
    meaning: "Questions that every single group gets right.",
  },
  {
    name: "named",
    label: "Answer named",
    better: 1,
    meaning: "Responses that name an answer, right or wrong: form, not fact.",
  },
  {
    name: "right_given_named",
    label: "Right given named",
    better: 1,
    meaning: "Of the answers that are named, those that are right: fact.",
  },
  {
    name: "contradiction",
    label: "Contradiction",
    better: -1,
    meaning: "Pairs of groups that both name an answer, not the same one.",
  },
  { name: "gap", label: "Gap", better: -1, meaning: "Accuracy of the best served group less that of the worst." },
  {
    name: "accuracy_worst",
    label: "Worst group",
    better: 1,
    meaning: "Accuracy of the group that is served least well.",
  },
  {
    name: "breakage",
    label: "Breakage",
    better: -1,
    meaning: "Of what the neutral control gets right, how much personas get wrong.",
  },
  {
    name: "agreement",
    label: "Agreement",
    better: 1,
    meaning: "How often two groups get the same answer, right or wrong.",
  },
  {
    name: "preference",
    label: "Preference score",
    better: 1,
    meaning: "How well the form of the response follows what was asked for.",
  },
];
export const VERDICTS = { better: "better", worse: "worse", unclear: "no clear change" };
const WIDTH = 280;
const ROW = 16;

/** The panel; `update(report)` takes `report.json` of an audit or of a training run. */
export function outcome() {
  const tiles = h("div", { class: "tiles" });
  const title = h("h2", { id: "outcome-title" });
  const scope = h("p", { class: "muted" });
  const element = h(
    "section",
    { class: "outcome", "aria-labelledby": "outcome-title", hidden: true },
    h("div", { class: "head" }, title, scope),
    tiles,
  );
  return {
    element,
    update: (report) => {
      element.hidden = true;
      const sides = sidesOf(report);
      const shown = METRICS.filter(({ name }) => sides.some(({ audit }) => audit[name]));
      const { questions, groups, closed_set: scored } = sides.at(-1).audit;
      put(title, sides.length === 2 ? "Before and after" : "Measured");
      const reading = scored ? ", options scored" : "";
      put(scope, `${questions} questions with a truth, ${groups.length} groups${reading}, 95 % intervals`);
      put(
        tiles,
        shown.map((metric) => tile(metric, sides, report.difference)),
      );
      element.hidden = false;
    },
  };
}

/** [{ side, label, audit }] of a report: one of an audit, two of a training run. */
export function sidesOf(report) {
  if (report.audit) return [{ side: "measured", label: "Measured", audit: report.audit }];
  return [
    { side: "base", label: "Before", audit: report.base },
    { side: "trained", label: "After", audit: report.trained },
  ];
}

function tile(metric, sides, difference) {
  const rows = sides
    .map(({ audit, ...side }) => ({ ...side, figure: audit[metric.name] }))
    .filter(({ figure }) => figure);
  return h(
    "article",
    { class: "card tile", "aria-label": metric.label },
    h("h3", {}, metric.label),
    h(
      "p",
      { class: "values" },
      rows.map(({ label, figure }, i) => [
        i > 0 && h("span", { class: "arrow", "aria-hidden": "true" }, "→"),
        h("span", { class: "hidden" }, ` ${label} `),
        h(i === rows.length - 1 ? "strong" : "span", {}, percent(figure.value, 1)),
      ]),
    ),
    difference?.[metric.name] && change(metric, difference),
    intervals(rows),
    h("p", { class: "muted meaning" }, metric.meaning),
  );
}

/** Whether the interval says nothing: it has no width, as of too few questions, or it holds 0. */
export const isUnclear = ({ low, high }) => !(low < high) || (low <= 0 && high >= 0);

/** The verdict is the interval's; p, which the gap and the worst group have, tests that training changed nothing. */
function change({ name, better }, difference) {
  const { value, low, high } = difference[name];
  const p = difference[`${name}_p`];
  const verdict = isUnclear(difference[name]) ? "unclear" : Math.sign(value) === better ? "better" : "worse";
  return h(
    "p",
    { class: `change ${verdict}` },
    h("b", {}, `${signed(100 * value)} pts, ${VERDICTS[verdict]}`),
    h("span", {}, ` ${signed(100 * low)} to ${signed(100 * high)}`, p && `, p = ${number(p.value, 3)}`),
  );
}

/** A dot and a whisker for each side, on one scale. */
function intervals(rows) {
  const [low, high] = extent(
    rows.flatMap(({ figure }) => [figure.low, figure.high]),
    0,
    1,
  );
  const x = linear([low, high], [6, WIDTH - 6]);
  const height = ROW * rows.length + 4;
  const text = rows.map(({ label, figure }) => `${label} ${interval(figure)}`).join("; ");
  return h(
    "div",
    { class: "intervals" },
    s(
      "svg",
      {
        viewBox: `0 0 ${WIDTH} ${height}`,
        role: "img",
        "aria-label": `95 % intervals: ${text}`,
        preserveAspectRatio: "none",
      },
      rows.map(({ side, figure }, i) => whisker(x, side, figure, ROW * (i + 0.5) + 2)),
    ),
    h(
      "ul",
      {},
      rows.map(({ label, figure }) =>
        h("li", { "aria-hidden": "true" }, h("span", { class: "muted" }, label), interval(figure)),
      ),
    ),
  );
}

const interval = ({ low, high }) => `${number(100 * low, 1)} to ${number(100 * high, 1)} %`;

function whisker(x, side, { value, low, high }, y) {
  if (![value, low, high].every(isNumber)) return null;
  return s(
    "g",
    { class: `whisker ${side}` },
    s("line", { x1: x(low), x2: x(high), y1: y, y2: y }),
    [low, high].map((end) => s("line", { x1: x(end), x2: x(end), y1: y - 4, y2: y + 4 })),
    s("circle", { cx: x(value), cy: y, r: 4.5 }),
  );
}
