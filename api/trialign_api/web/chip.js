/** A job's status, told by word, mark and colour. */

import { h, say } from "./dom.js";

const MARKS = {
  validating: "◌",
  queued: "◌",
  starting: "◔",
  running: "●",
  cancelling: "◑",
  succeeded: "✓",
  failed: "✕",
  cancelled: "■",
};

export function chip(status) {
  const element = h("span", { class: "chip" }, h("span", { "aria-hidden": "true", class: "mark" }), h("span"));
  setChip(element, status);
  return element;
}

export function setChip(element, status) {
  if (element.dataset.status === status) return;
  element.dataset.status = status;
  say(element.firstChild, MARKS[status] ?? "?");
  say(element.lastChild, status);
}
