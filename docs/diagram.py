"""Writes the diagram of docs/architecture.md from the import graph: `make diagram`."""

from __future__ import annotations

import re
from pathlib import Path

import grimp
import networkx as nx

PAGE = Path(__file__).with_name("architecture.md")
EVERYWHERE = {"errors", "progress"}
"""Modules that every room imports."""
_WIDTH, _ROW = 720, 76
"""Of the drawing, in pixels of its own."""
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


def svg(graph: nx.DiGraph[str]) -> str:
    """The same graph for the site, one row for each distance from what imports it."""
    reduced = nx.transitive_reduction(graph)
    places: dict[str, tuple[float, int]] = {}
    for row, rooms in enumerate(nx.topological_generations(reduced)):
        for column, room in enumerate(sorted(rooms)):
            places[room] = (_WIDTH * (column + 0.5) / len(rooms), 30 + row * _ROW)
    height = max(y for _, y in places.values()) + 30
    lines = [_line(*places[a], *places[b]) for a, b in sorted(reduced.edges)]
    boxes = [
        f'<rect x="{x - 52:.0f}" y="{y - 14}" width="104" height="28" rx="6"/>'
        f'<text x="{x:.0f}" y="{y + 4}">{room}</text>'
        for room, (x, y) in places.items()
    ]
    opening = f'<svg class="rooms" viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="Which room imports which">'
    return "".join([opening, *lines, *boxes, "</svg>"])


def _line(x: float, y: int, to_x: float, to_y: int) -> str:
    top, bottom = y + 14, to_y - 14
    return f'<path d="M{x:.0f} {top} C{x:.0f} {top + 30} {to_x:.0f} {bottom - 30} {to_x:.0f} {bottom}"/>'


def current(page: str) -> str:
    """`page` with the diagram of the code as it is."""
    return _BLOCK.sub(lambda _: mermaid(imports()), page)


def _room(module: str) -> str:
    package, _, rest = module.partition(".")
    return rest.partition(".")[0] or package if package == "trialign_ray" else package


if __name__ == "__main__":
    PAGE.write_text(current(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
