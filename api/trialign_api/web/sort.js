/** The order of the list of jobs. */

import { elapsed, done } from "./format.js";

const VALUES = {
  job: (job) => job.name.toLowerCase(),
  status: (job) => job.status,
  progress: (job) => done(job) ?? -1,
  owner: (job) => job.owner ?? "",
  created: (job) => Date.parse(job.created_at),
  time: (job) => elapsed(job) ?? -1,
};

/** Columns by name, with their titles. */
export const COLUMNS = [
  ["job", "Job"],
  ["status", "Status"],
  ["progress", "Progress"],
  ["owner", "Owner"],
  ["created", "Created"],
  ["time", "Time"],
];

/** `order`: a column's name, '-' before it for the other way round; empty as the server gives them, newest first. */
export function sorted(jobs, order) {
  const value = VALUES[order.replace(/^-/, "")];
  if (!value) return jobs;
  const way = order.startsWith("-") ? -1 : 1;
  return jobs.toSorted((a, b) => way * compared(value(a), value(b)));
}

const compared = (a, b) => (a < b ? -1 : a > b ? 1 : 0);

/** After a click on a column: upwards, downwards, as the server gives them. */
export const turned = (order, name) => (order === name ? `-${name}` : order === `-${name}` ? "" : name);

/** For aria-sort. */
export const direction = (order, name) =>
  order === name ? "ascending" : order === `-${name}` ? "descending" : null;
