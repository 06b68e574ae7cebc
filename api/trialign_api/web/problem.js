/** An error as its reader needs it: what, why, and where. */

import { h, put } from "./dom.js";
import { Problem } from "./api.js";

/** The element that shows the latest error of a view: `show(error)`, `clear()`. */
export function problemBox() {
  const element = h("div", { class: "problem", role: "alert", hidden: true });
  return {
    element,
    show: (error) => {
      put(element, ...told(Problem.of(error)));
      element.hidden = false;
    },
    clear: () => {
      if (element.hidden) return;
      element.hidden = true;
      put(element);
    },
  };
}

function told({ title, detail, code, errors }) {
  return [
    h("p", {}, h("strong", {}, title), code && h("code", {}, code)),
    detail && detail !== title && h("p", { class: "detail" }, detail),
    errors.length > 0 &&
      h(
        "ul",
        {},
        errors.map(({ pointer, detail }) => h("li", {}, pointer && h("code", {}, pointer), detail)),
      ),
  ];
}
