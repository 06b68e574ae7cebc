/** One line on the cluster, in the bar. */

import { api } from "./api.js";
import { say } from "./dom.js";
import { poll } from "./poll.js";
import { whole } from "./format.js";

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

/** 'Ray: 2 nodes, 8 CPUs, 1 GPU'; a resource that the cluster does not have is left out. */
function line({ reachable, nodes, resources }) {
  if (!reachable) return "Ray cannot be reached";
  const parts = [
    [nodes, "node"],
    [resources.CPU, "CPU"],
    [resources.GPU, "GPU"],
  ].filter(([count]) => count > 0);
  return `Ray: ${parts.map(([count, unit]) => `${whole(count)} ${unit}${count === 1 ? "" : "s"}`).join(", ")}`;
}
