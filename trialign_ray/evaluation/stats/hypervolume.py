"""The volume that points of (worst-group accuracy, agreement, preference) dominate, from the origin.

One number for a trade-off of three: a method that buys agreement with truth or with personalization gains nothing.
"""

from __future__ import annotations

import numpy as np

from trialign_ray.evaluation.stats.intervals import Floats


def hypervolume(point_pm: Floats) -> float:
    """Exact dominated volume of points [p, m], all maximised, in [0, 1] if they are (Zitzler & Thiele 1998).

    For one point it is the product of its coordinates.
    """
    points = np.asarray(point_pm, dtype=np.float64)
    if points.ndim != 2 or points.size == 0 or not np.isfinite(points).all():
        raise ValueError(f"needs finite points [p, m], has shape {points.shape}")
    import moocore  # of the extra 'report'

    return float(moocore.hypervolume(points, ref=np.zeros(points.shape[1]), maximise=True))
