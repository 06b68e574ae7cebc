/** The page: `#/` lists the jobs, `#/jobs/ID` shows one, `#/jobs/ID/report` its report. */

import { api, Problem } from "./api.js";
import { clusterLine } from "./cluster.js";
import { say } from "./dom.js";
import { askForKey } from "./keyform.js";
import { jobPage } from "./job.js";
import { jobList } from "./list.js";
import { reportPage } from "./report.js";
import { forget, keep, key } from "./session.js";

const main = document.getElementById("main");
const signOut = document.getElementById("sign-out");
let leaving = new AbortController();

function route() {
  leaving.abort();
  leaving = new AbortController();
  takeKeyFromAddress();
  signOut.hidden = key() === null;
  const view = key() === null ? askForKey({ told: "", then: route }) : page(leaving.signal);
  main.replaceChildren(view);
  view.querySelector("h1")?.focus({ preventScroll: true });
  window.scrollTo(0, 0);
}

function page(signal) {
  const [path, query = ""] = location.hash.replace(/^#/, "").split("?");
  const [, section, id, part] = path.split("/").map(decodeURIComponent);
  clusterLine(document.getElementById("cluster"), { signal, refused });
  if (section === "jobs" && id && part === "report") return reportPage(id, { signal, refused });
  if (section === "jobs" && id) return jobPage(id, { signal, refused });
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
  location.hash = "#/";
  route();
});
document.getElementById("skip").addEventListener("click", (event) => {
  event.preventDefault();
  main.focus();
});
window.addEventListener("hashchange", route);
route();
