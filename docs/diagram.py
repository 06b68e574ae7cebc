"""Writes the diagram of docs/architecture.md from the import graph: `make diagram`."""

from __future__ import annotations

import re
from pathlib import Path

import grimp
import networkx as nx

PAGE = Path(__file__).with_name("architecture.md")
EVERYWHERE = {"errors", "progress"}
"""Modules that every room imports."""
_BLOCK = re.compile(r"```mermaid\n.*?```", re.DOTALL)


def imports() -> nx.DiGraph[str]:
    """Which room imports which. A room is a package of the library; the service is one room."""
    modules = grimp.build_graph("trialign_ray", "trialign_api", cache_dir=None)
    graph: nx.DiGraph[str] = nx.DiGraph()
    for importer in modules.modules:
        for imported in modules.find_modules_directly_imported_by(importer):
            graph.add_edge(_room(importer), _room(imported))
    graph.remove_nodes_from([*EVERYWHERE, "trialign_ray"])
    graph.remove_edges_from(list(nx.selfloop_edges(graph)))
    return graph


def mermaid(graph: nx.DiGraph[str]) -> str:
    """The graph without the edges that follow from others: an arrow leads to a room that is imported."""
    edges = sorted(nx.transitive_reduction(graph).edges)
    return "\n".join(["```mermaid", "flowchart TD", *(f"    {a} --> {b}" for a, b in edges), "```"])


def current(page: str) -> str:
    """`page` with the diagram of the code as it is."""
    return _BLOCK.sub(lambda _: mermaid(imports()), page)


def _room(module: str) -> str:
    package, _, rest = module.partition(".")
    return rest.partition(".")[0] or package if package == "trialign_ray" else package


if __name__ == "__main__":
    PAGE.write_text(current(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
