/**
 * The page: `#/` lists the jobs, `#/jobs/ID` shows one, `#/jobs/ID/report` its report, `#/compare?jobs=A,B` several,
 * `#/new` submits one; `#/datasets`, `#/keys` and `#/audit` list those.
 */

import { api, Problem } from "./api.js";
import { clusterLine } from "./cluster.js";
import { comparePage } from "./compare.js";
import { h, put, say } from "./dom.js";
import { askForKey } from "./keyform.js";
import { jobPage } from "./job.js";
import { jobList } from "./list.js";
import { reportPage } from "./report.js";
import { forget, isKnown, keep, key, know, may } from "./session.js";
import { submitPage } from "./submit.js";
import { SECTIONS, tablePage } from "./tables.js";

const main = document.getElementById("main");
const signOut = document.getElementById("sign-out");
let leaving = new AbortController();

function route() {
  leaving.abort();
  leaving = new AbortController();
  takeKeyFromAddress();
  signOut.hidden = key() === null;
  if (key() === null) return show(askForKey({ told: "", then: route }));
  if (isKnown()) return show(page(leaving.signal));
  return learn(leaving.signal);
}

/** Asks once what the key may. Where no answer comes the page shows what it can read, and offers no change. */
async function learn(signal) {
  try {
    know((await api.me(signal)).scopes);
  } catch (error) {
    if (signal.aborted || refused(error)) return;
  }
  if (!signal.aborted) show(page(signal));
}

function show(view) {
  put(document.getElementById("nav"), ...sections());
  main.replaceChildren(view);
  view.querySelector("h1")?.focus({ preventScroll: true });
  window.scrollTo(0, 0);
}

function sections() {
  const here = location.hash.split(/[/?]/)[1] ?? "";
  const shown = SECTIONS.filter(({ scope }) => may(scope));
  if (shown.length === 0) return [];
  return [{ name: "", title: "Jobs" }, ...shown].map(({ name, title }) =>
    h("a", { href: `#/${name}`, "aria-current": here === name ? "page" : null }, title),
  );
}

function page(signal) {
  const [path, query = ""] = location.hash.replace(/^#/, "").split("?");
  const [, section, id, part] = path.split("/").map(decodeURIComponent);
  clusterLine(document.getElementById("cluster"), { signal, refused });
  if (section === "jobs" && id && part === "report") return reportPage(id, { signal, refused });
  if (section === "jobs" && id) return jobPage(id, { signal, refused });
  if (section === "compare") return comparePage(new URLSearchParams(query), { signal, refused });
  if (section === "new" && may("submit")) return submitPage(new URLSearchParams(query), { signal, refused });
  if (SECTIONS.some(({ name, scope }) => name === section && may(scope))) return tablePage(section, { signal, refused });
  return jobList(new URLSearchParams(query), { signal, refused });
}

/** Back to the key's form where the server no longer takes the key. Returns whether that was so. */
function refused(error) {
  if (Problem.of(error).status !== 401) return false;
  leaving.abort();
  forget();
  signOut.hidden = true;
  main.replaceChildren(askForKey({ told: "The server does not accept this key.", then: route }));
  main.querySelector("input")?.focus();
  return true;
}

/** `#key=…`, as a command may open the page, is kept and taken out of the address and the history. */
function takeKeyFromAddress() {
  const given = /^#key=([^&]+)$/.exec(location.hash);
  if (!given) return;
  keep(decodeURIComponent(given[1]));
  history.replaceState(null, "", `${location.pathname}#/`);
}

signOut.addEventListener("click", () => {
  forget();
  say(document.getElementById("cluster"), "");
  put(document.getElementById("nav"));
  location.hash = "#/";
  route();
});
document.getElementById("skip").addEventListener("click", (event) => {
  event.preventDefault();
  main.focus();
});
window.addEventListener("hashchange", route);
route();
