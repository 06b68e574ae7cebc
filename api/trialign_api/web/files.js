/** Files of a run that can be saved: adapter, report, metrics. */

import { api } from "./api.js";
import { h, keyed, say } from "./dom.js";
import { size } from "./format.js";

/** `update(files)`: rows of { name, bytes }. */
export function fileList(id, { signal, onerror }) {
  const list = h("ul", { class: "files card" });
  const empty = h("p", { class: "empty card" }, "Nothing to download yet.");
  const element = h(
    "section",
    { "aria-labelledby": "files-title" },
    h("div", { class: "head" }, h("h2", { id: "files-title" }, "Files")),
    list,
    empty,
  );
  const item = ({ name }) =>
    h(
      "li",
      {},
      h("span", {}, name),
      h("span", { class: "muted" }),
      h(
        "button",
        {
          type: "button",
          class: "small",
          "aria-label": `Download ${name}`,
          onclick: (event) => save(event.currentTarget, name),
        },
        "Download",
      ),
    );
  const save = async (button, name) => {
    button.disabled = true;
    try {
      hand(await api.artifact(id, name, signal), name.split("/").at(-1));
    } catch (error) {
      if (!signal.aborted) onerror(error);
    }
    button.disabled = false;
  };
  return {
    element,
    update: (files) => {
      list.hidden = files.length === 0;
      empty.hidden = !list.hidden;
      keyed(
        list,
        files,
        ({ name }) => name,
        item,
        (child, { bytes }) => say(child.children[1], size(bytes)),
      );
    },
  };
}

/** Gives the browser a file to save. The key travels in a header, so a plain link would not do. */
function hand(blob, name) {
  const address = URL.createObjectURL(blob);
  h("a", { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), 60_000);
}
