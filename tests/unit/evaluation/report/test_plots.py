from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest

from tests.unit.evaluation.samples import answers_of
from trialign_ray.evaluation.figures import Figure
from trialign_ray.evaluation.metrics import audit
from trialign_ray.evaluation.report import plots
from trialign_ray.evaluation.stats.intervals import Bootstrap

AUDIT = audit(answers_of([("A", "A", "B"), ("A", "B", "B"), ("A", "?", "A")]), Bootstrap(resamples=50))
SHARES = [Figure(value=0.5, low=0.4, high=0.6), None]


def words(svg: str) -> list[str]:
    return [element.text or "" for element in ElementTree.fromstring(svg).iter() if element.tag.endswith("text")]


@pytest.mark.parametrize("draw", [plots.dots, plots.bars])
def test_labels_are_shown_as_they_are(draw):
    shown = words(draw("x", "A plot", ["$a_1$ & <b>", "n" * 60], {"base": SHARES, "trained": SHARES}))
    assert "$a_1$ & <b>" in shown
    assert "n" * 23 + "…" in shown


def test_a_plot_says_what_it_is_and_scales():
    root = ElementTree.fromstring(plots.dots("x", 'Shares of "all"', ["a", "b"], {"audit": SHARES}))
    assert (root.get("role"), root.get("aria-label")) == ("img", 'Shares of "all"')
    assert root.get("viewBox", "").startswith("0 0 ")
    assert root.get("width") is None


def test_base_is_hollow_and_trained_is_solid():
    svg = plots.dots("x", "A plot", ["a", "b"], {"base": SHARES, "trained": SHARES})
    assert re.search(r"fill: var\(--surface\); stroke: var\(--base\)", svg)
    assert re.search(r"fill: var\(--accent\); stroke: var\(--accent\)", svg)


def test_the_gap_is_written_beside_its_line_for_each_side():
    shown = words(plots.null("x", "A plot", {"base": AUDIT, "trained": AUDIT}))
    assert shown.count(" measured 66.7 %") == 2
    assert {"base", "trained"} <= set(shown)


def test_agreement_is_written_in_every_cell_but_the_diagonal():
    shown = words(plots.heat("x", "A plot", AUDIT))
    assert shown.count("33") == 6
    assert "pupil  3" in shown


def test_a_drawing_is_the_same_at_every_call():
    assert plots.heat("x", "A plot", AUDIT) == plots.heat("x", "A plot", AUDIT)


def test_gaps_without_spread_have_no_axis():
    alike = audit(answers_of([("A", "A", "A")] * 4), Bootstrap(resamples=20))
    shown = words(plots.null("x", "A plot", {"measured": alike}))
    assert "No spread: every gap by chance is the same." in shown
    assert "0 %" not in shown


def test_agreement_has_one_scale_on_every_page():
    half = audit(answers_of([("A", "A", "A"), ("A", "B", "C")]), Bootstrap(resamples=20))
    assert "opacity: 0.38" in plots.heat("x", "A plot", half)
