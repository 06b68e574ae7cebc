/** One line on the cluster, in the bar. */

import { api } from "./api.js";
import { say } from "./dom.js";
import { poll } from "./poll.js";
import { amount, whole } from "./format.js";

const SECONDS = 15;

/** What was last heard: the address of Ray's dashboard, null where browsers do not reach it. The document gets a "cluster" event when it is heard. */
export const heard = { dashboard: null };

export function clusterLine(element, { signal, refused }) {
  const show = async () => {
    const cluster = await api.cluster(signal);
    heard.dashboard = cluster.dashboard;
    document.dispatchEvent(new Event("cluster"));
    say(element, line(cluster));
  };
  poll(show, SECONDS, { signal, onerror: (error) => refused(error) || say(element, "Ray cannot be reached") });
}

/** 'Ray: 2 nodes, 6 of 8 CPUs free, 1 GPU'; what the cluster does not have is left out, and so is what is all free. */
function line({ reachable, nodes, resources, reserved = {} }) {
  if (!reachable) return "Ray cannot be reached";
  const parts = [
    [nodes, "node", 0],
    [resources.CPU, "CPU", reserved.CPU ?? 0],
    [resources.GPU, "GPU", reserved.GPU ?? 0],
  ].filter(([count]) => count > 0);
  const told = parts.map(([count, unit, taken]) => {
    const all = `${whole(count)} ${unit}${count === 1 ? "" : "s"}`;
    return taken > 0 ? `${amount(Math.max(0, count - taken))} of ${all} free` : all;
  });
  return `Ray: ${told.join(", ")}`;
}
