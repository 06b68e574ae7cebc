"""The Pareto picture: right for everyone against preference, one point an arm. Reference arms are drawn hollow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter
from matplotlib.transforms import Bbox, BboxBase

from trialign_ray.evaluation.comparison.model import ArmRow
from trialign_ray.evaluation.figures import Figure
from trialign_ray.evaluation.report.svg import ACCENT, BASE, INK, LINE, MUTED, SURFACE, canvas, inline, plain

EVERYONE, PREFERENCE = "free.everyone", "free.preference"
_HEIGHT = 340
_MARK = 8
"""Of a point, in pixels."""
_BESIDE: tuple[tuple[tuple[int, int], Literal["left", "right"]], ...] = (
    *(((5, 5), "left"), ((-5, 5), "right"), ((5, -13), "left"), ((-5, -13), "right")),
    *(((5, 17), "left"), ((-5, 17), "right"), ((5, -25), "left"), ((-5, -25), "right")),
)
"""Where a name may stand, in points from its own point: the nearest first."""


def pareto(name: str, rows: Sequence[ArmRow]) -> Markup | None:
    """None where no arm has both figures."""
    points = {row.arm: (row, *both) for row in rows if (both := _both(row)) is not None}
    if not points:
        return None
    drawing, (ax,) = canvas(_HEIGHT)
    best = front([(preference.value, everyone.value) for _, preference, everyone in points.values()])
    ax.step(*zip(*best, strict=True), where="pre", color=MUTED, linewidth=1.2, linestyle="dashed", zorder=0)
    for row, preference, everyone in points.values():
        _point(ax, preference, everyone, trained=row.trained)
    for axis, label in ((ax.xaxis, "preference"), (ax.yaxis, "right for everyone")):
        axis.set_major_formatter(PercentFormatter(1.0, decimals=0, symbol=" %"))
        axis.set_label_text(label, color=INK)
    ax.grid(color=LINE, linewidth=0.6)
    ax.margins(x=0.25, y=0.12)
    drawing.draw_without_rendering()  # limits and layout are settled by drawing
    write_names(ax, [(arm, both[0].value, both[1].value, row.trained) for arm, (row, *both) in points.items()])
    return inline(drawing, name, "Right for everyone against preference, one point for each arm, with 95 % intervals.")


def _both(row: ArmRow) -> tuple[Figure, Figure] | None:
    preference, everyone = (row.figures.get(name) for name in (PREFERENCE, EVERYONE))
    return None if preference is None or everyone is None else (preference, everyone)


def front(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Points that no other one beats in both, by ascending preference."""
    highest, found = -1.0, list[tuple[float, float]]()
    for x, y in sorted(points, reverse=True):
        if y > highest:
            highest = y
            found.append((x, y))
    return found[::-1]


def _point(ax: Axes, preference: Figure, everyone: Figure, *, trained: bool) -> None:
    colour, face = (ACCENT, ACCENT) if trained else (BASE, SURFACE)
    x, y = preference.value, everyone.value
    ax.plot([preference.low, preference.high], [y, y], color=colour, linewidth=1.0, alpha=0.6)
    ax.plot([x, x], [everyone.low, everyone.high], color=colour, linewidth=1.0, alpha=0.6)
    ax.plot([x], [y], "o", color=colour, markerfacecolor=face, markersize=6, mew=1.6)


def write_names(ax: Axes, points: Sequence[tuple[str, float, float, bool]]) -> list[BboxBase]:
    """Write the name of each point (name, x, y, trained) beside it, where no point and no other name stands."""
    centres = ax.transData.transform([(x, y) for _, x, y, _ in points])
    placed: list[BboxBase] = []
    marks = [Bbox.from_bounds(x - _MARK / 2, y - _MARK / 2, _MARK, _MARK) for x, y in centres]
    for arm, x, y, trained in points:
        colour = INK if trained else MUTED
        name = ax.annotate(plain(arm), (x, y), textcoords="offset points", xytext=(5, 5), color=colour, fontsize=9)
        boxes: list[BboxBase] = []
        for offset, side in _BESIDE:
            name.set(position=offset, horizontalalignment=side)
            boxes.append(name.get_window_extent())
            if not any(boxes[-1].overlaps(other) for other in (*placed, *marks)):
                break
        placed.append(boxes[-1])
    return placed
