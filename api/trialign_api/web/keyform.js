/** The question for the API key. */

import { h } from "./dom.js";
import { keep } from "./session.js";

/** A form that keeps the key in this tab and goes on with `then`. `told`: why it is asked again. */
export function askForKey({ told, then }) {
  const field = h("input", {
    id: "key",
    type: "password",
    autocomplete: "off",
    spellcheck: "false",
    required: true,
    "aria-describedby": "key-note",
  });
  const submit = (event) => {
    event.preventDefault();
    keep(field.value.trim());
    then();
  };
  return h(
    "form",
    { class: "key card", onsubmit: submit },
    h("h1", { tabindex: "-1" }, "Sign in"),
    told && h("p", { class: "problem", role: "alert" }, told),
    h("label", { for: "key" }, "API key"),
    field,
    h(
      "p",
      { class: "muted", id: "key-note" },
      "Kept in this tab until it is closed. An administrator makes keys with ",
      h("code", {}, "trialign keys create"),
      ".",
    ),
    h("button", { type: "submit", class: "primary" }, "Continue"),
  );
}
