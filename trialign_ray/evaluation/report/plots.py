"""The plots of the report. Base is drawn hollow and trained solid, so that colour is never the only difference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from matplotlib.ticker import PercentFormatter

from trialign_ray.evaluation.figures import Audit, Figure, MaybeFigure
from trialign_ray.evaluation.report.svg import (
    ACCENT,
    BASE,
    HEAT,
    INK,
    LINE,
    MUTED,
    SHADE,
    SURFACE,
    canvas,
    inline,
    plain,
)

_ROW = 27
"""Points of height for one row of a plot."""
_FRAME = 40
_MOST_NUMBERED = 12
"""Groups up to which the cells of the agreement plot hold their number."""
_MOST_BARS = 60
Rows = Mapping[str, Sequence[MaybeFigure]]
"""Side ('base', 'trained' or 'audit') -> one figure for each row; at most two sides, the later one solid."""


def dots(name: str, description: str, labels: Sequence[str], rows: Rows) -> Markup:
    """Shares with their intervals, one row for each label."""
    drawing, (ax,) = canvas(_ROW * len(labels) + _FRAME)
    _percent_rows(ax, labels)
    for (colour, face), offset, figures in _sides(rows):
        for at, figure in enumerate(figures):
            if figure is not None:
                ax.plot(
                    [figure.low, figure.high], [at + offset] * 2, color=colour, linewidth=1.8, solid_capstyle="round"
                )
                ax.plot([figure.value], [at + offset], "o", color=colour, markerfacecolor=face, markersize=7, mew=1.8)
    return inline(drawing, name, description)


def bars(name: str, description: str, labels: Sequence[str], rows: Rows) -> Markup:
    """Shares as bars from 0, their intervals drawn over the ends, one row for each label."""
    drawing, (ax,) = canvas(1.35 * _ROW * len(labels) + _FRAME)
    _percent_rows(ax, labels)
    height = 0.62 / len(rows)
    for (colour, face), offset, figures in _sides(rows):
        for at, figure in enumerate(figures):
            if figure is not None:
                y = at + offset * 1.1
                ax.barh(y, figure.value, height, facecolor=face, alpha=0.5, linewidth=0)
                ax.barh(y, figure.value, height, facecolor="none", edgecolor=colour, linewidth=1.4)
                ax.plot([figure.low, figure.high], [y, y], color=INK, linewidth=1.4, solid_capstyle="round")
    return inline(drawing, name, description)


def null(name: str, description: str, audits: Mapping[str, Audit]) -> Markup:
    """The gap that was measured against those that chance alone gives; one panel for each side."""
    drawing, axes = canvas(30 + 105 * max(len(audits), 1.6), len(audits))
    for ax, (title, audit), (colour, _) in zip(axes, audits.items(), _looks(len(audits)), strict=True):
        if audit.gap is not None:
            _null_panel(ax, title if len(audits) > 1 else "", audit, audit.gap, colour)
    axes[-1].xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0, symbol=" %"))
    if all(len(audit.gap_null.values) == 1 and audit.gap for audit in audits.values()):
        axes[-1].set_xticks([])
        axes[-1].set_xlabel("No spread: every gap by chance is the same.", color=INK)
    axes[-1].set_xlim(left=0)
    return inline(drawing, name, description)


def heat(name: str, description: str, audit: Audit) -> Markup:
    """Agreement of every two groups in percent; paler is less, from 0 to 100 on every page."""
    size = len(audit.groups)
    drawing, (ax,) = canvas(290)
    for g, row in enumerate(audit.agreement_matrix):
        for h, cell in enumerate(row):
            if cell is not None:
                _heat_cell(ax, g, h, cell, cell, numbered=size <= _MOST_NUMBERED)
    ax.set_xlim(-0.5, size - 0.5)
    ax.set_ylim(size - 0.5, -0.5)
    ax.set_xticks(range(size), [str(g + 1) for g in range(size)])
    ax.set_yticks(range(size), [f"{plain(group)}  {g + 1}" for g, group in enumerate(audit.groups)], color=INK)
    return inline(drawing, name, description)


def _percent_rows(ax: Axes, labels: Sequence[str]) -> None:
    ax.set_xlim(-0.02, 1.02)
    ax.set_ylim(len(labels) - 0.5, -0.5)
    ax.set_yticks(range(len(labels)), [plain(label) for label in labels], color=INK)
    ax.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0, symbol=" %"))
    ax.grid(axis="x", color=LINE, linewidth=0.8)


def _looks(sides: int) -> list[tuple[str, str]]:
    """(colour of edge and line, colour of the inside) of each side."""
    return [(ACCENT, ACCENT)] if sides == 1 else [(BASE, SURFACE), (ACCENT, ACCENT)]


def _sides(rows: Rows) -> list[tuple[tuple[str, str], float, Sequence[MaybeFigure]]]:
    offsets = [0.0] if len(rows) == 1 else [-0.17, 0.17]
    return list(zip(_looks(len(rows)), offsets, rows.values(), strict=True))


def _null_panel(ax: Axes, title: str, audit: Audit, gap: Figure, colour: str) -> None:
    centres, counts, width = _histogram(audit)
    ax.bar(centres, counts, width * 0.92, color=SHADE)
    top = 1.42 * float(counts.max())
    ax.set_ylim(0, top)
    ax.set_yticks([])
    ax.vlines(audit.gap_null.quantile_95, 0, 0.62 * top, color=MUTED, linestyles="dashed", linewidth=1.2)
    ax.vlines(gap.value, 0, 0.84 * top, color=colour, linewidth=2.4)
    ax.text(gap.value, 0.87 * top, f" measured {100 * gap.value:.1f} %", color=INK, ha="left", va="bottom")
    ax.set_ylabel(title, color=INK, rotation=0, ha="right", va="center")


def _histogram(audit: Audit) -> tuple[np.ndarray, np.ndarray, float]:
    values, counts = np.array(audit.gap_null.values), np.array(audit.gap_null.counts)
    if len(values) <= _MOST_BARS:
        return values, counts, float(np.diff(values).min()) if len(values) > 1 else 0.01
    binned, edges = np.histogram(values, bins=_MOST_BARS // 2, weights=counts)
    return (edges[:-1] + edges[1:]) / 2, binned, float(edges[1] - edges[0])


def _heat_cell(ax: Axes, g: int, h: int, value: float, depth: float, numbered: bool) -> None:
    alpha = 0.06 + 0.64 * min(1.0, max(0.0, depth))
    ax.add_patch(Rectangle((h - 0.47, g - 0.47), 0.94, 0.94, facecolor=HEAT, alpha=alpha, linewidth=0))
    if numbered:
        ax.text(h, g, f"{100 * value:.0f}", ha="center", va="center", color=INK, fontsize=10)
