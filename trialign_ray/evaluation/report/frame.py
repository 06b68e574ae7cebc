"""The figures of a report as a pandas table, one row a figure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from trialign_ray.errors import require
from trialign_ray.evaluation.figures import Figures, MaybeFigure, figure_names, is_by_group

if TYPE_CHECKING:
    import pandas as pd


def to_frame(sides: Mapping[str, Figures]) -> pd.DataFrame:
    """Columns side, metric, group (None for a figure of all groups), value, low, high; figures not measured are NaN.

    Raises MissingExtraError without pandas.
    """
    require("pandas", "pandas")
    import pandas as pd

    rows = [
        (side, metric, group, *((figure.value, figure.low, figure.high) if figure else (None, None, None)))
        for side, figures in sides.items()
        for metric in figure_names(type(figures))
        for group, figure in _by_group(figures, metric)
    ]
    frame = pd.DataFrame(rows, columns=["side", "metric", "group", "value", "low", "high"])
    return frame.astype({"value": float, "low": float, "high": float})


def _by_group(figures: Figures, metric: str) -> list[tuple[str | None, MaybeFigure]]:
    value = getattr(figures, metric)
    if isinstance(value, dict):
        return list(value.items())
    return [] if is_by_group(metric, type(figures)) else [(None, value)]
