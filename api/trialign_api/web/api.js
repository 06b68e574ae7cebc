/** The control plane's REST API. Every failure is a `Problem` that says what a reader can do. */

import { key } from "./session.js";

const ROOT = "/v1";
const PATIENCE_MS = 20_000;
/** A check opens the files that a specification names, for which the service gives itself three minutes. */
const CHECK_PATIENCE_MS = 200_000;

/** What went wrong, from problem+json (RFC 9457) or from the network. `status` 0: no answer came. */
export class Problem extends Error {
  constructor({ status = 0, title = "Something went wrong", detail = "", code = "", errors = [] }) {
    super(detail || title);
    Object.assign(this, { status, title, detail, code, errors });
  }

  /** Any error as a Problem. */
  static of(error) {
    if (error instanceof Problem) return error;
    if (error?.name === "TimeoutError")
      return new Problem({ title: "The server does not answer", detail: "Nothing came in time." });
    if (error instanceof TypeError && /fetch|network/i.test(error.message))
      return new Problem({
        title: "The server cannot be reached",
        detail: "Is it running, and is this machine online?",
      });
    return new Problem({ title: "This page failed", detail: String(error?.message ?? error) });
  }
}

const job = (id, rest = "") => `/jobs/${encodeURIComponent(id)}${rest}`;

export const api = {
  /** `query`: pairs of name and value; a name may come several times. */
  jobs: (query, signal) => get(`/jobs?${new URLSearchParams(query)}`, signal),
  job: (id, signal) => get(job(id), signal),
  /** { data, next_cursor }: those after the event `seq`. */
  events: (id, seq, signal) => get(job(id, `/events?after=${seq}`), signal),
  /** { data, next }: at most `points` rows, spread over the steps behind `after`. */
  metrics: (id, { after, points }, signal) => get(job(id, `/metrics?after=${after}&points=${points}`), signal),
  checkpoints: (id, signal) => get(job(id, "/checkpoints"), signal),
  report: (id, signal) => get(job(id, "/report"), signal),
  me: (signal) => get("/me", signal),
  keys: (signal) => get("/keys", signal),
  audit: (signal) => get("/audit?limit=200", signal),
  datasets: (signal) => get("/datasets?limit=200", signal),
  cluster: (signal) => get("/cluster", signal),
  artifacts: (id, signal) => get(job(id, "/artifacts"), signal),
  artifact: async (id, name, signal) =>
    (await request(job(id, `/artifacts/${name.split("/").map(encodeURIComponent).join("/")}`), { signal })).blob(),
  /** `action`: cancel, resume or retry. */
  act: (id, action) => change("POST", job(id, `/${action}`)),
  /** `body`: { spec, labels }. */
  submit: (body) => change("POST", "/jobs", body),
  /** A dry run: { effective, plan }. */
  validate: (body) => change("POST", "/jobs:validate", body, CHECK_PATIENCE_MS),
  /** `run`: its run folder too. */
  remove: (id, run) => change("DELETE", job(id, run ? "?run=true" : "")),
  removeDataset: (id) => change("DELETE", `/datasets/${encodeURIComponent(id)}`),
  /** The last lines of a job's log, as text. */
  logTail: async (id, lines, signal) => (await ask(job(id, `/logs?tail=${lines}`), { signal })).text(),
  /** The open stream of a job's log, behind an event or else from its last lines on; it lasts until the signal. */
  logStream: (id, lastEventId, lines, signal) =>
    request(job(id, lastEventId === null ? `/logs/stream?tail=${lines}` : "/logs/stream"), {
      signal,
      headers: { Accept: "text/event-stream", ...(lastEventId === null ? {} : { "Last-Event-ID": lastEventId }) },
    }),
};

async function get(path, signal) {
  return (await ask(path, { signal })).json();
}

async function change(method, path, body, patience) {
  const headers = { "Idempotency-Key": nonce(), ...(body ? { "Content-Type": "application/json" } : {}) };
  return (await ask(path, { method, headers, body: body && JSON.stringify(body), patience })).json();
}

function ask(path, { signal, patience = PATIENCE_MS, ...options } = {}) {
  const late = AbortSignal.timeout(patience);
  return request(path, { ...options, signal: signal ? AbortSignal.any([signal, late]) : late });
}

async function request(path, { headers, ...options }) {
  const auth = key() === null ? {} : { Authorization: `Bearer ${key()}` };
  const response = await fetch(ROOT + path, {
    ...options,
    headers: { ...auth, ...headers },
    cache: "no-store",
    credentials: "same-origin",
  });
  if (!response.ok) throw await problem(response);
  return response;
}

async function problem(response) {
  const told = await response.json().catch(() => ({}));
  return new Problem({ title: `The server answered ${response.status}`, ...told, status: response.status });
}

function nonce() {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
