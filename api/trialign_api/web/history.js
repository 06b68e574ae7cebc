/** What happened to a job, newest first, and the checkpoints that it left. */

import { h, keyed, put, say } from "./dom.js";
import { ago, moment, size } from "./format.js";

/** `update(events)`: rows of { seq, at, type, message }. */
export function eventList() {
  const list = h("ol", { class: "events" });
  const empty = h("p", { class: "empty" }, "Nothing has happened yet.");
  const element = h(
    "section",
    { "aria-labelledby": "events-title" },
    h("div", { class: "head" }, h("h2", { id: "events-title" }, "Events")),
    h(
      "div",
      { class: "card scroll tall", tabindex: "0", role: "region", "aria-label": "Events, newest first" },
      list,
      empty,
    ),
  );
  return {
    element,
    update: (events) => {
      empty.hidden = events.length > 0;
      keyed(
        list,
        events.toSorted((a, b) => b.seq - a.seq),
        ({ seq }) => String(seq),
        eventItem,
        (item, { at }) => say(item.lastChild, ago(at)),
      );
    },
  };
}

function eventItem({ at, type, message }) {
  return h(
    "li",
    { class: /fail|lost|error/.test(type) ? "bad" : null },
    h("span", { class: "type" }, type.replaceAll("_", " ")),
    h("span", { class: "message" }, message),
    h("time", { class: "muted", datetime: at, title: moment(at) }),
  );
}

/** `update(checkpoints)`: rows of { name, bytes, modified_at }. */
export function checkpointList() {
  const body = h("tbody");
  const table = h(
    "table",
    { class: "checkpoints" },
    h(
      "thead",
      {},
      h(
        "tr",
        {},
        ["Checkpoint", "Size", "Written"].map((title) => h("th", { scope: "col" }, title)),
      ),
    ),
    body,
  );
  const empty = h("p", { class: "empty" }, "No checkpoint yet. A cancelled job writes one before it ends.");
  const element = h(
    "section",
    { "aria-labelledby": "checkpoints-title" },
    h("div", { class: "head" }, h("h2", { id: "checkpoints-title" }, "Checkpoints")),
    h("div", { class: "card scroll tall", tabindex: "0", role: "region", "aria-label": "Checkpoints" }, table, empty),
  );
  return {
    element,
    update: (checkpoints) => {
      table.hidden = checkpoints.length === 0;
      empty.hidden = !table.hidden;
      put(body, checkpoints.map(checkpointRow));
    },
  };
}

function checkpointRow({ name, bytes, modified_at: at }) {
  return h(
    "tr",
    {},
    h("th", { scope: "row" }, name),
    h("td", {}, size(bytes)),
    h("td", { title: at ? moment(at) : null }, at ? ago(at) : "–"),
  );
}
