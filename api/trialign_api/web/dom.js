/** Building the page. Text becomes text nodes and nothing else, so that no job, log or error can become markup. */

const SVG = "http://www.w3.org/2000/svg";

/** An HTML element: `on…` are listeners, false and null leave an attribute out, true sets it empty. */
export function h(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

/** The same in SVG. */
export function s(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== null && value !== undefined && value !== false)
      element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...present(children));
  return element;
}

/** Replaces what an element holds. */
export function put(element, ...children) {
  element.replaceChildren(...present(children));
}

function present(children) {
  return children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false);
}

/** Sets the text only where it differs, so that a refresh disturbs neither selection nor screen reader. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/**
 * Makes the children of `parent` those of `items`, in order, keeping the element of each key:
 * focus and hover survive a refresh.
 */
export function keyed(parent, items, key, make, update) {
  const kept = new Map([...parent.children].map((child) => [child.dataset.key, child]));
  let next = parent.firstElementChild;
  for (const item of items) {
    const child = kept.get(key(item)) ?? made(make(item), key(item));
    kept.delete(key(item));
    update(child, item);
    if (child === next) next = next.nextElementSibling;
    else parent.insertBefore(child, next);
  }
  for (const gone of kept.values()) gone.remove();
}

function made(element, key) {
  element.dataset.key = key;
  return element;
}

/** Reads a message out to those who cannot see it change. */
export function announce(message) {
  say(document.getElementById("announcer"), message);
}

/**
 * Asks before something is done. Resolves to null where the answer is no, as Escape, a click outside and the signal
 * mean, and to { chosen } where it is yes: whether the box of `option` is ticked.
 */
export function confirmed({ title, text, yes, no = "Back", danger = false, option = null }, signal) {
  return new Promise((resolve) => {
    const box = h("input", { type: "checkbox" });
    const back = h("button", { type: "button", onclick: () => dialog.close() }, no);
    const go = h(
      "button",
      { type: "button", class: danger ? "danger" : "primary", onclick: () => dialog.close("yes") },
      yes,
    );
    const dialog = h(
      "dialog",
      { "aria-labelledby": "dialog-title", onclick: (event) => event.target === dialog && dialog.close() },
      h(
        "div",
        { class: "inside" },
        h("h2", { id: "dialog-title" }, title),
        h("p", {}, text),
        option && h("label", { class: "check option" }, box, option),
        h("div", { class: "actions" }, back, go),
      ),
    );
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(dialog.returnValue === "yes" ? { chosen: box.checked } : null);
    });
    signal.addEventListener("abort", () => dialog.close(), { once: true });
    document.body.append(dialog);
    dialog.showModal();
    back.focus();
  });
}
