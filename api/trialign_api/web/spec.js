/** What a job was asked for, and what its check found that it will do. */

import { fields, written } from "./diff.js";
import { h, put } from "./dom.js";
import { amount, isNumber, size } from "./format.js";

/** The panel; `update(job, events)`: the plan is in the event of the check. */
export function specPanel() {
  const plan = h("dl", { class: "details card" });
  const spec = h("dl", { class: "details spec" });
  const planned = h("div", {}, h("div", { class: "head" }, h("h2", {}, "Plan")), plan);
  const element = h(
    "section",
    { class: "pair even", "aria-label": "Specification and plan" },
    h(
      "div",
      {},
      h("div", { class: "head" }, h("h2", {}, "Specification")),
      h(
        "div",
        { class: "card scroll tall", tabindex: "0", role: "region", "aria-label": "Specification" },
        spec,
      ),
    ),
    planned,
  );
  let seen = "";
  return {
    element,
    update: (job, events) => {
      const found = events.findLast(({ data }) => data?.plan)?.data.plan ?? null;
      const mark = JSON.stringify([job.spec, found]);
      if (mark === seen) return;
      seen = mark;
      put(spec, rows(fields(job.spec).map(([name, value]) => [name, written(value)])));
      planned.hidden = found === null;
      if (found) put(plan, rows(planRows(found)));
    },
  };
}

/** A plan as [name, text]. */
export function planRows({ data = {}, derived = {}, needs = {}, memory = null, warnings = [] }) {
  const reserved = Object.entries(needs).map(([name, count]) => `${amount(count)} ${name}`);
  return [
    ...fields(data).map(([name, value]) => [name, written(value)]),
    ...fields(derived).map(([name, value]) => [name, written(value)]),
    ...(reserved.length ? [["reserves", reserved.join(", ")]] : []),
    ...(isNumber(memory?.total) ? [["memory of a worker", size(memory.total)]] : []),
    ...(isNumber(memory?.available) ? [["of which it may take", size(memory.available)]] : []),
    ...(isNumber(memory?.passes) ? [["passes of a step, at most", String(memory.passes)]] : []),
    ...(memory?.advice ?? []).map((text) => ["does not fit", text]),
    ...warnings.map((text) => ["warning", text]),
  ];
}

export const rows = (pairs) =>
  pairs.map(([name, text]) => h("div", {}, h("dt", {}, String(name).replaceAll("_", " ")), h("dd", {}, text)));
