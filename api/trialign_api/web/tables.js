/** Lists beside that of jobs: datasets, and for admins keys and the audit log. */

import { api } from "./api.js";
import { confirmed, h, put, say } from "./dom.js";
import { ago, moment, size, whole } from "./format.js";
import { problemBox } from "./problem.js";
import { may } from "./session.js";

const time = (at) => h("time", { datetime: at, title: moment(at) }, ago(at));
const code = (text) => h("code", {}, text);

const TABLES = {
  datasets: {
    title: "Datasets",
    load: (signal) => api.datasets(signal),
    head: ["Dataset", "Named in a specification", "Owner", "Rows", "Rejected", "Size", "Uploaded", ""],
    cells: (row, remove) => [
      row.name,
      code(row.path),
      row.owner,
      whole(row.report.rows_imported),
      whole(row.report.rows_rejected),
      size(row.bytes),
      time(row.created_at),
      may("submit") && h("button", { type: "button", class: "small danger", onclick: () => remove(row) }, "Delete"),
    ],
    empty: "No datasets yet. Upload one with: trialign datasets upload FILE",
  },
  keys: {
    title: "Keys",
    load: (signal) => api.keys(signal),
    head: ["Key", "Owner", "May", "Made", "State"],
    cells: ({ id, owner, scopes, created_at: made, revoked_at: ended }) => [
      code(id),
      owner,
      scopes.join(", "),
      time(made),
      ended ? ["revoked ", time(ended)] : "valid",
    ],
    empty: "No keys.",
    note: "trialign keys create and trialign keys revoke, where the database is, make and end them.",
  },
  audit: {
    title: "Audit log",
    load: (signal) => api.audit(signal),
    head: ["When", "Who", "Key", "What", "On", "From"],
    cells: ({ at, owner, key_id: key, action, target, remote }) => [
      h("time", { datetime: at }, moment(at)),
      owner,
      code(key),
      action,
      code(target),
      remote || "–",
    ],
    empty: "Nothing was changed yet.",
  },
};

/** Who may see which, in the order of the bar. */
export const SECTIONS = [
  { name: "datasets", title: "Datasets", scope: "read" },
  { name: "keys", title: "Keys", scope: "admin" },
  { name: "audit", title: "Audit log", scope: "admin" },
];

export function tablePage(name, { signal, refused }) {
  const { title, load, head, cells, empty, note } = TABLES[name];
  const problem = problemBox();
  const search = h("input", { id: "find", type: "search", placeholder: "Filter", autocomplete: "off" });
  const count = h("p", { class: "muted", role: "status" });
  const body = h("tbody");
  const nothing = h("p", { class: "empty", hidden: true }, empty);
  let all = [];
  const fail = (error) => signal.aborted || refused(error) || problem.show(error);
  const show = () => {
    const wanted = search.value.trim().toLowerCase();
    const found = all.filter((row) => JSON.stringify(row).toLowerCase().includes(wanted));
    put(body, found.map((row) => h("tr", {}, cells(row, remove).map((cell, i) => h("td", { "data-title": head[i] }, cell)))));
    say(count, all.length ? `${whole(found.length)} of ${whole(all.length)}` : "");
    nothing.hidden = all.length > 0;
  };
  const read = async () => {
    all = (await load(signal)).data;
    show();
  };
  const remove = async (row) => {
    const asked = { title: `Delete ${row.name}?`, text: "Jobs that name it can no longer read it.", yes: "Delete the dataset" };
    if ((await confirmed({ ...asked, danger: true }, signal)) === null) return;
    problem.clear();
    await api.removeDataset(row.id).then(read).catch(fail);
  };
  search.addEventListener("input", show);
  document.title = `${title} · TriAlign`;
  read().catch(fail);
  return h(
    "section",
    { "aria-labelledby": "title" },
    h("div", { class: "head" }, h("h1", { id: "title", tabindex: "-1" }, title), count),
    note && h("p", { class: "muted note" }, note),
    h("div", { class: "filters" }, h("label", { for: "find", class: "hidden" }, "Filter"), search),
    problem.element,
    h(
      "div",
      { class: "card scroll", tabindex: "0", role: "region", "aria-label": title },
      h("table", { class: "listed" }, h("thead", {}, h("tr", {}, head.map((text) => h("th", { scope: "col" }, text)))), body),
      nothing,
    ),
  );
}
