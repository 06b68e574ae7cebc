"""The names of the Pareto picture."""

from __future__ import annotations

from itertools import combinations

from trialign_ray.evaluation.report.pareto import write_names
from trialign_ray.evaluation.report.svg import canvas


def test_names_of_points_that_lie_together_stand_apart():
    _, (ax,) = canvas(340)
    points = [(f"an_arm_{n}", 0.5 + 0.001 * n, 0.2 + 0.001 * n, n % 2 == 0) for n in range(5)]
    for _, x, y, _ in points:
        ax.plot([x], [y], "o")
    ax.set(xlim=(0.4, 0.7), ylim=(0, 0.4))
    boxes = write_names(ax, points)
    assert len(boxes) == 5
    assert not any(one.overlaps(other) for one, other in combinations(boxes, 2))
    for _, x, y, _ in points:
        assert not any(box.contains(*ax.transData.transform((x, y))) for box in boxes)


def test_a_name_alone_stands_to_the_upper_right():
    _, (ax,) = canvas(340)
    ax.set(xlim=(0, 1), ylim=(0, 1))
    (box,) = write_names(ax, [("ours", 0.5, 0.5, True)])
    x, y = ax.transData.transform((0.5, 0.5))
    assert box.x0 > x
    assert box.y0 > y
