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
  return h("section", { class: "reportpage", "aria-labelledby": "title" },
    h("div", { class: "head" },
      h("div", {}, h("a", { class: "back", href: `#/jobs/${encodeURIComponent(id)}` }, "← Job"), h("h1", { id: "title", tabindex: "-1" }, "Truth report")), save),
    state, problem.element, frame);
}

async function show({ id, frame, save, state, signal }) {
  const blob = await api.artifact(id, NAME, signal);
  const address = URL.createObjectURL(blob);
  signal.addEventListener("abort", () => URL.revokeObjectURL(address), { once: true });
  save.href = address;
  save.hidden = false;
  frame.addEventListener("load", () => dress(frame), { once: true });
  frame.hidden = false;
  frame.srcdoc = bare(await blob.text());
  state.hidden = true;
}

/** The page without its <style> elements and style attributes, which are kept as data for `dress`. */
function bare(text) {
  const page = new DOMParser().parseFromString(text, "text/html");
  for (const element of page.querySelectorAll("script, base, iframe, object, embed, link, meta[http-equiv]")) element.remove();
  for (const style of page.querySelectorAll("style")) style.replaceWith(kept(page, style.textContent));
  for (const element of page.querySelectorAll("[style]")) {
    element.dataset.style = element.getAttribute("style");
    element.removeAttribute("style");
  }
  return `<!doctype html>${page.documentElement.outerHTML}`;
}

function kept(page, text) {
  const holder = page.createElement("template");
  holder.dataset.sheet = text;
  return holder;
}

function dress(frame) {
  const page = frame.contentDocument;
  const sheets = [...page.querySelectorAll("template[data-sheet]")].map(({ dataset }) => {
    const sheet = new frame.contentWindow.CSSStyleSheet();
    sheet.replaceSync(dataset.sheet);
    return sheet;
  });
  page.adoptedStyleSheets = sheets;
  for (const element of page.querySelectorAll("[data-style]")) element.style.cssText = element.dataset.style;
}
