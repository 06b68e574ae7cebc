/**
 * A line chart over optimizer steps: axes, one line a series, names at the lines' ends, and a cursor that mouse, finger
 * and arrow keys move. It draws itself anew at the width it has, so text keeps its size on every screen.
 */

import { h, put, s } from "./dom.js";
import { whole } from "./format.js";
import { decimals, extent, linear, nearest, ticks } from "./scale.js";

const HEIGHT = 230;
const MOST_NAMES = 24;
const TOP = 10;
const BOTTOM = 26;
const LEFT = 54;
const LABEL_HEIGHT = 14;
const LABEL_WIDTH = 136;
const WIDE = 460;
const LABEL_LETTERS = 18;

/**
 * `write(value, digits)` turns a value into text, `share` says in percent; `reference` is a value with a dashed line; `floor` and `ceiling` bound the axis.
 * `update({ steps, series })`: series are { name, index, values }, a value null where a step has none.
 * `highlight(names)` fades the others; an empty set fades none.
 */
export function lineChart({
  title,
  note,
  write,
  share = false,
  reference = null,
  floor = -Infinity,
  ceiling = Infinity,
  small = false,
}) {
  const svg = s("svg", { "aria-hidden": "true" });
  const tip = h("div", { class: "tip", hidden: true });
  const plot = h(
    "div",
    {
      class: "plot",
      role: "slider",
      tabindex: "0",
      "aria-label": `${title} at step`,
      "aria-valuemin": "0",
      "aria-valuemax": "0",
      "aria-valuenow": "0",
    },
    svg,
    tip,
  );
  const numbers = h(
    "details",
    { class: "numbers" },
    h("summary", {}, "Numbers"),
    h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": `${title}, numbers` }),
  );
  const element = h(
    "figure",
    { class: small ? "card chart small" : "card chart" },
    h("figcaption", {}, h("h3", {}, title), h("p", { class: "muted" }, note)),
    plot,
    numbers,
  );
  const chart = {
    element,
    svg,
    tip,
    plot,
    numbers,
    title,
    write,
    share,
    reference,
    floor,
    ceiling,
    height: small ? 150 : HEIGHT,
    small,
    steps: [],
    series: [],
    at: null,
    chosen: new Set(),
    view: null,
  };
  chart.update = (data) => update(chart, data);
  chart.highlight = (names) => {
    chart.chosen = names;
    fade(chart);
  };
  listen(chart);
  return chart;
}

function update(chart, { steps, series }) {
  const last = chart.at !== null && chart.at === chart.steps.length - 1;
  Object.assign(chart, { steps, series });
  if (chart.at !== null) chart.at = last ? steps.length - 1 : Math.min(chart.at, steps.length - 1);
  draw(chart);
  if (chart.numbers.open) fillNumbers(chart);
}

function listen(chart) {
  const { plot, numbers } = chart;
  new ResizeObserver(() => draw(chart)).observe(plot);
  plot.addEventListener("pointermove", (event) => point(chart, pointed(chart, event)));
  plot.addEventListener("pointerdown", (event) => point(chart, pointed(chart, event)));
  plot.addEventListener("pointerleave", ({ pointerType }) => {
    // A finger leaves when it is lifted, and its reader is not done then: the next tap elsewhere takes the focus away.
    if (pointerType !== "touch" && !plot.matches(":focus-visible")) point(chart, null);
  });
  plot.addEventListener(
    "focus",
    () => plot.matches(":focus-visible") && point(chart, chart.at ?? chart.steps.length - 1),
  );
  plot.addEventListener("blur", () => point(chart, null));
  plot.addEventListener("keydown", (event) => move(chart, event));
  numbers.addEventListener("toggle", () => numbers.open && fillNumbers(chart));
}

function pointed({ svg, view, steps }, event) {
  if (view === null) return null;
  return nearest(steps, view.x.inverse(event.clientX - svg.getBoundingClientRect().left));
}

const MOVES = {
  ArrowLeft: (at) => at - 1,
  ArrowDown: (at) => at - 1,
  ArrowRight: (at) => at + 1,
  ArrowUp: (at) => at + 1,
  PageDown: (at) => at - 10,
  PageUp: (at) => at + 10,
  Home: () => 0,
  End: () => Infinity,
};

function move(chart, event) {
  if (event.key === "Escape") point(chart, null);
  const go = MOVES[event.key];
  if (!go || chart.steps.length === 0) return;
  event.preventDefault();
  const last = chart.steps.length - 1;
  point(chart, Math.max(0, Math.min(last, go(chart.at ?? last))));
}

function draw(chart) {
  const width = Math.floor(chart.plot.clientWidth);
  if (width === 0 || chart.steps.length === 0) return;
  if (!chart.small) chart.height = Math.max(HEIGHT, roomForNames(chart, width));
  chart.view = viewOf(chart, width);
  const { svg, height } = chart;
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.setAttribute("width", width);
  svg.setAttribute("height", height);
  put(svg, axes(chart), lines(chart), chart.view.labelled ? names(chart) : null, s("g", { class: "cursor" }));
  fade(chart);
  point(chart, chart.at);
}

/** Beyond so many names the legend alone tells which line is whose. */
const isLabelled = (series, width) => width >= WIDE && series.length > 1 && series.length <= MOST_NAMES;

/** The height at which the names at the lines' ends stand apart. */
const roomForNames = ({ series }, width) =>
  isLabelled(series, width) ? TOP + BOTTOM + LABEL_HEIGHT * (series.length + 1) : 0;

function viewOf({ steps, series, reference, floor, ceiling, height }, width) {
  const labelled = isLabelled(series, width);
  const right = width - (labelled ? LABEL_WIDTH : 12);
  const values = series.flatMap(({ values }) => values).concat(reference ?? []);
  const yTicks = ticks(...extent(values, floor, ceiling), height < 200 ? 3 : 5);
  const x = linear([steps[0], Math.max(steps.at(-1), steps[0] + 1)], [LEFT, right]);
  const y = linear([yTicks[0], yTicks.at(-1)], [height - BOTTOM, TOP]);
  return { x, y, right, labelled, yTicks, xTicks: stepTicks(steps, right - LEFT) };
}

function stepTicks(steps, width) {
  const inside = ticks(steps[0], steps.at(-1), Math.max(2, Math.floor(width / 60)));
  return inside.filter((tick) => Number.isInteger(tick) && tick >= steps[0] && tick <= steps.at(-1));
}

function axes({ view, write, share, reference, height }) {
  const { x, y, right } = view;
  const tickDigits = Math.max(0, decimals(view.yTicks) - (share ? 2 : 0));
  return s(
    "g",
    { class: "axes" },
    view.yTicks.map((tick) => [
      s("line", { x1: LEFT, x2: right, y1: y(tick), y2: y(tick) }),
      s(
        "text",
        { x: LEFT - 8, y: y(tick), "text-anchor": "end", "dominant-baseline": "central" },
        write(tick, tickDigits),
      ),
    ]),
    view.xTicks.map((tick) => s("text", { x: x(tick), y: height - 8, "text-anchor": anchor(view, tick) }, whole(tick))),
    reference === null
      ? null
      : s("line", { class: "reference", x1: LEFT, x2: right, y1: y(reference), y2: y(reference) }),
  );
}

/** A number at the right edge ends there: half of it would be cut off. */
const anchor = ({ x, right, labelled }, tick) => (!labelled && right - x(tick) < 20 ? "end" : "middle");

function lines({ view, steps, series }) {
  return series.map(({ name, index, values }) =>
    s(
      "g",
      { class: `series series-${index % 8}${index >= 8 ? " dashed" : ""}`, "data-name": name },
      s("path", { d: path(view, steps, values) }),
    ),
  );
}

/** A line with a gap where a value is missing; a lone point is a dot. */
function path({ x, y }, steps, values) {
  let pen = false;
  const parts = values.map((value, i) => {
    if (value === null) return (pen = false) || "";
    const at = `${x(steps[i]).toFixed(1)} ${y(value).toFixed(1)}`;
    const part = pen ? `L${at}` : `M${at}h0`;
    pen = true;
    return part;
  });
  return parts.join("");
}

function names({ view, series, height }) {
  const ends = series.map((line) => ({ ...line, end: line.values.findLast((value) => value !== null) }));
  const shown = ends.filter(({ end }) => end !== undefined).map((line) => ({ ...line, y: view.y(line.end) }));
  return spread(shown, TOP + 4, height - BOTTOM).map(({ name, index, y, end }) =>
    s(
      "g",
      { class: `series series-${index % 8}`, "data-name": name },
      s("polyline", {
        class: "lead",
        points: `${view.right + 2},${view.y(end).toFixed(1)} ${view.right + 14},${y.toFixed(1)}`,
      }),
      s("text", { x: view.right + 17, y, "dominant-baseline": "central" }, short(name)),
    ),
  );
}

const short = (name) => (name.length > LABEL_LETTERS ? `${name.slice(0, LABEL_LETTERS - 1)}…` : name);

/** Moves labels apart, first downwards and then back up from the bottom, keeping their order. */
function spread(labels, top, bottom) {
  const sorted = labels.toSorted((a, b) => a.y - b.y);
  let free = top;
  for (const label of sorted) free = (label.y = Math.max(label.y, free)) + LABEL_HEIGHT;
  let limit = bottom;
  for (const label of sorted.toReversed()) limit = (label.y = Math.min(label.y, limit)) - LABEL_HEIGHT;
  return sorted;
}

function fade({ svg, chosen }) {
  for (const group of svg.querySelectorAll(".series"))
    group.classList.toggle("faded", chosen.size > 0 && !chosen.has(group.dataset.name));
}

/** Puts the cursor at the index of a step; null takes it away. */
function point(chart, at) {
  const { svg, tip, plot, steps, view } = chart;
  chart.at = at;
  const cursor = svg.querySelector(".cursor");
  tip.hidden = at === null;
  if (cursor === null || view === null) return;
  if (at === null) return void put(cursor);
  const found = chart.series
    .map((line) => ({ ...line, value: line.values[at] ?? null }))
    .filter(({ value }) => value !== null);
  const x = view.x(steps[at]);
  put(
    cursor,
    s("line", { x1: x, x2: x, y1: TOP, y2: chart.height - BOTTOM }),
    found.map(({ value, index }) =>
      s("circle", { class: `series series-${index % 8}`, cx: x, cy: view.y(value), r: 3.5 }),
    ),
  );
  const sorted = found.toSorted((a, b) => b.value - a.value);
  tell(chart, sorted, at);
  showTip(tip, plot, x, [
    h("strong", {}, `Step ${whole(steps[at])}`),
    h(
      "ul",
      {},
      sorted.map((line) => tipLine(chart, line)),
    ),
  ]);
}

function tipLine({ series, write }, { name, index, value }) {
  return h("li", {}, swatch(index), series.length > 1 && h("span", { class: "who" }, name), h("b", {}, write(value)));
}

function tell({ plot, steps, series, write }, sorted, at) {
  plot.setAttribute("aria-valuemin", steps[0]);
  plot.setAttribute("aria-valuemax", steps.at(-1));
  plot.setAttribute("aria-valuenow", steps[at]);
  const values = sorted.map(({ name, value }) => (series.length > 1 ? `${name} ${write(value)}` : write(value)));
  plot.setAttribute("aria-valuetext", `step ${steps[at]}: ${values.join(", ")}`);
}

function showTip(tip, plot, x, content) {
  put(tip, ...content);
  const room = plot.clientWidth - tip.offsetWidth;
  const left = x + 14 + tip.offsetWidth > plot.clientWidth ? x - 14 - tip.offsetWidth : x + 14;
  tip.style.left = `${Math.max(0, Math.min(room, left))}px`;
}

function fillNumbers({ numbers, steps, series, write }) {
  const head = h(
    "tr",
    {},
    h("th", { scope: "col" }, "Step"),
    series.map(({ name }) => h("th", { scope: "col" }, name)),
  );
  const body = steps.map((step, i) =>
    h(
      "tr",
      {},
      h("th", { scope: "row" }, whole(step)),
      series.map(({ values }) => h("td", {}, values[i] === null ? "–" : write(values[i]))),
    ),
  );
  put(numbers.lastChild, h("table", {}, h("thead", {}, head), h("tbody", {}, body.reverse())));
}

/** The mark of a series in a legend. */
export function swatch(index) {
  return h("span", { class: `swatch series-${index % 8}`, "aria-hidden": "true" });
}
