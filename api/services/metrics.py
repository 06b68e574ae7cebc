"""Views of a run's metrics."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from api.schemas import Groups, GroupSeries, MetricsPage

_SERIES = ("utility", "weight", "accuracy", "mass_right")
_SHORT = ("step", "steps", "loss", "epoch")


def page(rows: Sequence[dict[str, Any]], after: int, limit: int) -> MetricsPage:
    """At most `limit` rows behind step `after`."""
    newer = [row for row in rows if row["step"] > after][:limit]
    return MetricsPage(data=newer, next=newer[-1]["step"] if newer else after)


def groups(rows: Sequence[dict[str, Any]]) -> Groups:
    """One series a group; groups in the order in which they first appear."""
    names = list(dict.fromkeys(name for row in rows for name in row.get("groups", {})))
    return Groups(steps=[row["step"] for row in rows], groups=[_series(name, rows) for name in names])


def short(rows: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """What the list of jobs shows of the newest row."""
    return {name: rows[-1][name] for name in _SHORT if name in rows[-1]} if rows else None


def _series(name: str, rows: Sequence[dict[str, Any]]) -> GroupSeries:
    held = [row.get("groups", {}).get(name, {}) for row in rows]
    return GroupSeries(name=name, **{figure: [group.get(figure) for group in held] for figure in _SERIES})
