from __future__ import annotations

import pytest

from trialign_ray.evaluation.figures import Figure, Figures, is_by_group
from trialign_ray.evaluation.report.catalogue import (
    HEADLINES,
    METRICS,
    judge,
    write_change,
    write_change_interval,
    write_interval,
    write_value,
)

GAP, AGREEMENT, KAPPA = METRICS["gap"], METRICS["agreement"], METRICS["fleiss_kappa"]


def test_every_metric_with_one_figure_has_words():
    assert set(METRICS) == {name for name in Figures.model_fields if not is_by_group(name, Figures)}
    assert set(HEADLINES) <= set(METRICS)


@pytest.mark.parametrize(
    ("metric", "bounds", "verdict"),
    [
        (GAP, (-0.2, -0.1, -0.05), "better"),
        (GAP, (0.05, 0.1, 0.2), "worse"),
        (AGREEMENT, (0.05, 0.1, 0.2), "better"),
        (AGREEMENT, (-0.2, -0.1, -0.05), "worse"),
        (AGREEMENT, (-0.1, 0.1, 0.2), "unclear"),
        (AGREEMENT, (0.0, 0.1, 0.2), "unclear"),
        (METRICS["any_correct"], (0.05, 0.1, 0.2), "up"),
    ],
)
def test_a_change_is_judged_by_its_direction_and_its_interval(metric, bounds, verdict):
    low, value, high = bounds
    assert judge(metric, Figure(value=value, low=low, high=high)) == verdict


def test_figures_are_written_for_people():
    figure = Figure(value=-0.05, low=-0.1234, high=0.02)
    assert write_value(GAP, 0.5333) == "53.3 %"
    assert write_interval(GAP, figure) == "−12.3 to 2.0 %"
    assert write_change(GAP, -0.05) == "−5.0 pts"
    assert write_change_interval(GAP, figure) == "−12.3 to +2.0"
    assert (write_value(KAPPA, 0.5), write_change(KAPPA, 0.25)) == ("0.500", "+0.250")
    assert write_change(GAP, -0.00001) == "0.0 pts"
