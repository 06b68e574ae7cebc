"""The Pareto picture: right for everyone against preference, one point an arm. Reference arms are drawn hollow."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter

from trialign_ray.evaluation.comparison.model import ArmRow
from trialign_ray.evaluation.figures import Figure
from trialign_ray.evaluation.report.svg import ACCENT, BASE, INK, LINE, MUTED, SURFACE, canvas, inline, plain

EVERYONE, PREFERENCE = "free.everyone", "free.preference"
_HEIGHT = 340


def pareto(name: str, rows: Sequence[ArmRow]) -> Markup | None:
    """None where no arm has both figures."""
    points = {row.arm: (row, *both) for row in rows if (both := _both(row)) is not None}
    if not points:
        return None
    drawing, (ax,) = canvas(_HEIGHT)
    best = front([(preference.value, everyone.value) for _, preference, everyone in points.values()])
    ax.step(*zip(*best, strict=True), where="pre", color=MUTED, linewidth=1.2, linestyle="dashed", zorder=0)
    for arm, (row, preference, everyone) in points.items():
        _point(ax, arm, preference, everyone, trained=row.trained)
    for axis, label in ((ax.xaxis, "preference"), (ax.yaxis, "right for everyone")):
        axis.set_major_formatter(PercentFormatter(1.0, decimals=0, symbol=" %"))
        axis.set_label_text(label, color=INK)
    ax.grid(color=LINE, linewidth=0.6)
    ax.margins(x=0.25, y=0.12)
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


def _point(ax: Axes, arm: str, preference: Figure, everyone: Figure, *, trained: bool) -> None:
    colour, face = (ACCENT, ACCENT) if trained else (BASE, SURFACE)
    x, y = preference.value, everyone.value
    ax.plot([preference.low, preference.high], [y, y], color=colour, linewidth=1.0, alpha=0.6)
    ax.plot([x, x], [everyone.low, everyone.high], color=colour, linewidth=1.0, alpha=0.6)
    ax.plot([x], [y], "o", color=colour, markerfacecolor=face, markersize=6, mew=1.6)
    ax.annotate(
        plain(arm), (x, y), xytext=(5, 5), textcoords="offset points", color=INK if trained else MUTED, fontsize=9
    )
