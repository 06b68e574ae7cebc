/**
 * The report's page inside this one. It is shown in a frame that can run no script and send no form; its styles, which
 * a strict Content-Security-Policy forbids as markup, are handed to the frame as style sheet objects.
 */

import { api, Problem } from "./api.js";
import { h } from "./dom.js";
import { problemBox } from "./problem.js";

const NAME = "report.html";

export function reportPage(id, { signal, refused }) {
  const problem = problemBox();
  const frame = h("iframe", { class: "report", title: "Truth report", sandbox: "allow-same-origin", hidden: true });
  const save = h("a", { class: "button", download: `${id}-${NAME}`, hidden: true }, "Download");
  const state = h("p", { class: "muted", role: "status" }, "Loading the report …");
  document.title = "Truth report · TriAlign";
  show({ id, frame, save, state, signal }).catch((error) => {
    if (signal.aborted || refused(error)) return;
    state.hidden = true;
    problem.show(Problem.of(error));
  });
  return h(
    "section",
    { class: "reportpage", "aria-labelledby": "title" },
    h(
      "div",
      { class: "head" },
      h(
        "div",
        {},
        h("a", { class: "back", href: `#/jobs/${encodeURIComponent(id)}` }, "← Job"),
        h("h1", { id: "title", tabindex: "-1" }, "Truth report"),
      ),
      save,
    ),
    state,
    problem.element,
    frame,
  );
}

async function show({ id, frame, save, state, signal }) {
  const blob = await api.artifact(id, NAME, signal);
  const address = URL.createObjectURL(blob);
  signal.addEventListener("abort", () => URL.revokeObjectURL(address), { once: true });
  save.href = address;
  save.hidden = false;
  const { text, sheets } = bare(await blob.text());
  frame.addEventListener("load", () => dress(frame, sheets), { once: true });
  frame.hidden = false;
  frame.srcdoc = text;
  state.hidden = true;
}

/** The page without its styles: `sheets` has those of its <style> elements, and attributes named style are renamed to data-style. */
function bare(page) {
  const sheets = [];
  const text = page
    .replace(/<style[^>]*>([^]*?)<\/style>/gi, (_, sheet) => void sheets.push(sheet) ?? "")
    .replace(/<[a-z][^>]*>/gi, (tag) => tag.replace(/\sstyle=/gi, " data-style="));
  return { text, sheets };
}

function dress(frame, sheets) {
  const { contentDocument: page, contentWindow: world } = frame;
  page.adoptedStyleSheets = sheets.map((text) => {
    const sheet = new world.CSSStyleSheet();
    sheet.replaceSync(text);
    return sheet;
  });
  for (const element of page.querySelectorAll("[data-style]")) element.style.cssText = element.dataset.style;
}
