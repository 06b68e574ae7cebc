"""The tables and the page of a comparison, and the picture's front."""

from __future__ import annotations

from trialign_ray.config.compare import Contrast
from trialign_ray.evaluation.comparison.markdown import to_markdown
from trialign_ray.evaluation.comparison.model import ArmRow, Comparison, ContrastRow, RegimeRows
from trialign_ray.evaluation.comparison.page import to_html
from trialign_ray.evaluation.figures import Figure
from trialign_ray.evaluation.report.pareto import front

FIGURE = Figure(value=0.5, low=0.25, high=0.75)
ROW = ArmRow(
    **{"arm": "base", "trained": False, "seeds": (), "missing": 0, "learning_rate": None, "unseen": {}},
    figures={"closed.everyone": FIGURE, "free.everyone": FIGURE, "free.preference": FIGURE, "free.neutral": None},
    **{
        "calls": 1,
        "tokens": 9.5,
        "steps": 0,
        "training_tokens": 0,
        "scored_tokens": None,
        "training_seconds": 0,
        "perplexity": None,
    },
)
OURS = ROW.model_copy(
    update={
        "arm": "ours",
        "trained": True,
        "seeds": (0, 1),
        "missing": 1,
        "learning_rate": 5e-4,
        "steps": 40.0,
        "scored_tokens": 120,
        "by_seed": {"closed.everyone": {1: 0.625, 0: 0.375}},
        "by_topic": {"capitals": 0.75, "rivers": 0.25},
    }
)
CONTRAST = Contrast(name="<b>main</b>", of="ours", against="base", figure="closed.everyone", regime="all")
FOUND = Comparison(
    **{"name": "grid", "questions": {"closed": 20, "free": 10}, "groups": 8, "learning_rates": {"weighted": 5e-4}},
    regimes=(RegimeRows(regime="all", predicted="A tie | of all.", rows=(ROW, OURS)),),
    contrasts=(
        ContrastRow(contrast=CONTRAST, seeds=2, difference=Figure(value=0.1, low=0.02, high=0.2), p=0.01, p_holm=0.02),
        ContrastRow(contrast=CONTRAST, seeds=0, difference=None, p=None, p_holm=None),
    ),
    failed={"ours in all, seed 2": "DataError: full"},
    run={"cells": 3, "specification": {"name": "grid"}},
)


def test_markdown_has_contrasts_figures_and_costs():
    text = to_markdown(FOUND)
    assert (
        "| &lt;b>main&lt;/b>: ours less base | all | closed.everyone | +0.100 | +0.020 to +0.200 | 0.010 | 0.020 | 2 |"
        in text
    )
    assert "closed.everyone | – | – | – | – | 0 |" in text
    assert "Predicted: A tie \\| of all." in text
    assert "| ours | 0.500 (0.250 to 0.750) | 0.500 (0.250 to 0.750) |" in text
    assert "| ours | 2 of 3 seeds | 1.00 | 9.5 | 0.0005 | 40 | 0 | 120 | 0 | – |" in text
    assert "### Seed by seed\n\n| arm | closed: everyone |" in text
    assert "| ours | 0.375, 0.625 |" in text
    assert "| ours | 0.750 | 0.250 |" in text
    assert "| base | – | 1.00 | 9.5 | – | – | – | – | – | – |" in text
    assert "- ours in all, seed 2: DataError: full" in text


def test_the_page_is_one_file_with_a_picture_and_escapes_what_it_is_given():
    page = to_html(FOUND)
    assert page.count('<svg class="plot"') == 1
    assert "<b>main" not in page
    assert "<script" not in page
    assert "learning rate, weighted" in page


def test_the_front_holds_what_nothing_else_beats_in_both():
    assert front([(0.5, 0.2), (0.6, 0.1), (0.4, 0.3), (0.4, 0.1), (0.5, 0.1)]) == [(0.4, 0.3), (0.5, 0.2), (0.6, 0.1)]
    assert front([]) == []
