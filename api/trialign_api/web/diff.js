/** Specifications as lists of fields, and how several differ. */

/** [name, value] of every leaf: `{ lora: { rank: 8 } }` is [["lora.rank", 8]]; lists are leaves. */
export function fields(spec, prefix = "") {
  return Object.entries(spec ?? {}).flatMap(([name, value]) =>
    isObject(value) && Object.keys(value).length > 0 ? fields(value, `${prefix}${name}.`) : [[prefix + name, value]],
  );
}

const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);

/** A value as a reader writes it: text without quotes, the rest as JSON. */
export const written = (value) =>
  value === undefined ? "–" : typeof value === "string" ? value : JSON.stringify(value);

/** Names of fields in which `specs` differ, with each one's value: [{ name, values }]. */
export function differences(specs) {
  const all = specs.map((spec) => new Map(fields(spec)));
  const names = [...new Set(all.flatMap((known) => [...known.keys()]))];
  return names
    .map((name) => ({ name, values: all.map((known) => written(known.get(name))) }))
    .filter(({ values }) => new Set(values).size > 1);
}
