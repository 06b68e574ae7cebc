/** Questions on which groups differ, one at a time, with what each group was answered. */

import { h, put, say } from "./dom.js";
import { percent } from "./format.js";

/** The panel; `update(report)` takes `report.json`. */
export function splitPanel() {
  const view = {
    all: [],
    found: [],
    at: 0,
    count: h("p", { class: "muted", role: "status" }),
    search: h("input", { id: "split-search", type: "search", placeholder: "Word of the question or an answer" }),
    body: h("div", { class: "card split" }),
    back: h("button", { type: "button", class: "small" }, "← Previous"),
    next: h("button", { type: "button", class: "small" }, "Next →"),
  };
  view.search.addEventListener("input", () => {
    view.at = 0;
    show(view);
  });
  view.back.addEventListener("click", () => step(view, -1));
  view.next.addEventListener("click", () => step(view, 1));
  const element = h(
    "section",
    { "aria-labelledby": "split-title", hidden: true },
    h("div", { class: "head" }, h("h2", { id: "split-title" }, "Questions that split the groups"), view.count),
    h(
      "div",
      { class: "filters" },
      h("label", { for: "split-search", class: "hidden" }, "Search the questions"),
      view.search,
      view.back,
      view.next,
    ),
    view.body,
  );
  return {
    element,
    update: ({ split_questions: questions = [] }) => {
      view.all = questions;
      element.hidden = questions.length === 0;
      show(view);
    },
  };
}

function step(view, by) {
  view.at = Math.max(0, Math.min(view.found.length - 1, view.at + by));
  show(view);
}

function show(view) {
  const wanted = view.search.value.trim().toLowerCase();
  view.found = view.all.filter((question) => words(question).includes(wanted));
  const question = view.found[view.at];
  say(view.count, question ? `${view.at + 1} of ${view.found.length}` : "None has these words.");
  view.back.disabled = view.at === 0;
  view.next.disabled = view.at >= view.found.length - 1;
  put(view.body, question ? asked(question) : null);
}

const words = ({ question, references, sides }) =>
  [question, ...references, ...Object.values(sides).flatMap(({ given }) => responses(given))].join(" ").toLowerCase();

const responses = (given) => Object.values(given).flatMap((each) => each.map(({ response }) => response));

function asked({ question, topic, references, sides }) {
  const groups = [...new Set(Object.values(sides).flatMap(({ given }) => Object.keys(given)))];
  const names = Object.keys(sides);
  return [
    h("h3", {}, question),
    h("p", { class: "muted" }, [topic, `right: ${references.join(" or ")}`].filter(Boolean).join(" · ")),
    h("p", { class: "muted" }, names.map((name) => outcomeOf(name, sides[name])).join(" · ")),
    h(
      "div",
      { class: "scroll", tabindex: "0", role: "region", "aria-label": "Answers by group" },
      h(
        "table",
        {},
        h("thead", {}, h("tr", {}, ["Group", ...names.map(title)].map((name) => h("th", { scope: "col" }, name)))),
        h(
          "tbody",
          {},
          groups.map((group) =>
            h("tr", {}, h("th", { scope: "row" }, group), names.map((name) => h("td", {}, given(sides[name], group)))),
          ),
        ),
      ),
    ),
  ];
}

const title = (side) => ({ audit: "Answer", base: "Before", trained: "After" })[side] ?? side;

const outcomeOf = (name, { outcome, correct_share: share }) =>
  `${title(name)}: ${String(outcome).replaceAll("_", " ")}, ${percent(share)}`;

/** Each response with a mark, so that colour is not all that tells right from wrong. */
function given(side, group) {
  return (side.given[group] ?? []).map(({ response, correct }) =>
    h(
      "p",
      { class: correct ? "right" : "wrong" },
      h("span", { "aria-hidden": "true" }, correct ? "✓ " : "✕ "),
      h("span", { class: "hidden" }, correct ? "right: " : "wrong: "),
      response || "(empty)",
    ),
  );
}
