"""Figures of each kind of cue are those of its groups alone."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from trialign_ray.evaluation.answers import Answers, read_answers
from trialign_ray.evaluation.by_cue import by_cue
from trialign_ray.evaluation.metrics import audit
from trialign_ray.evaluation.report.page import to_html
from trialign_ray.evaluation.report.report import audit_report, training_report
from trialign_ray.evaluation.report.table import report_table
from trialign_ray.evaluation.stats.intervals import Bootstrap

from .samples import known, row, rows_of, table

GROUPS = ("neutral", "nurse", "pupil", "believer")
CUES = {"nurse": "profile", "pupil": "profile", "believer": "belief"}
GRID = [("A", "A", "A", "B"), ("A", "A", "b", "B"), ("A", "?", "A", "A"), ("c", "A", "c", "?")]
FEW = Bootstrap(resamples=50)


def read() -> Answers:
    return read_answers(table(rows_of(GRID, GROUPS)), GROUPS)


def test_each_kind_of_cue_has_the_figures_of_its_groups():
    profile, belief = by_cue(read(), CUES, FEW)
    assert (profile.cue, profile.groups) == ("profile", ("nurse", "pupil"))
    assert (belief.cue, belief.groups) == ("belief", ("believer",))
    assert known(profile.accuracy).value == pytest.approx(5 / 8)
    assert known(profile.named).value == pytest.approx(7 / 8)
    assert known(profile.right_given_named).value == pytest.approx(5 / 7)
    assert known(belief.accuracy).value == pytest.approx(1 / 4)
    assert known(belief.named).value == pytest.approx(3 / 4)


def test_a_cue_is_compared_with_the_control_where_both_name_an_answer():
    profile, belief = by_cue(read(), CUES, FEW)
    assert known(profile.contradicts_control).value == pytest.approx(2 / 7)
    assert known(belief.contradicts_control).value == pytest.approx(2 / 3)


def test_without_a_control_there_is_no_such_comparison():
    rows = [entry for entry in rows_of(GRID, GROUPS) if entry["group"] != "neutral"]
    found = by_cue(read_answers(table(rows), GROUPS[1:]), CUES, FEW)
    assert [cue.contradicts_control for cue in found] == [None, None]


def test_the_mean_over_cues_weighted_by_groups_is_the_mean_of_the_personas():
    profile, belief = by_cue(read(), CUES, FEW)
    by_group = audit(read(), FEW).accuracy_by_group
    personas = [known(by_group[group]).value for group in GROUPS[1:]]
    both = 2 * known(profile.accuracy).value + known(belief.accuracy).value
    assert both / 3 == pytest.approx(sum(personas) / 3)


@pytest.mark.parametrize("cues", [{}, dict.fromkeys(GROUPS[1:], "persona")])
def test_groups_of_one_cue_are_not_split(cues):
    assert by_cue(read(), cues, FEW) == ()


def test_preference_is_that_of_the_groups():
    rows = [entry | {"reward_preference": 0.5, "preference_cue": "explicit"} for entry in rows_of(GRID, GROUPS)]
    rows += [row("taste", group, "?", kind="subjective", references=[], reward_truth=None) for group in GROUPS]
    profile, belief = by_cue(read_answers(table(rows), GROUPS), CUES, FEW)
    assert known(profile.preference).value == known(belief.preference).value == 0.5


def test_table_and_page_show_every_cue():
    answers = table(rows_of(GRID, GROUPS))
    reports = (
        audit_report(answers, GROUPS, {}, FEW, cues=CUES),
        training_report(answers, answers, GROUPS, {}, FEW, cues=CUES),
    )
    for report in reports:
        console = Console(file=io.StringIO(), width=80)
        console.print(report_table(report))
        printed = console.file.getvalue()  # type: ignore[attr-defined]
        assert "By cue" in printed
        assert "profile" in printed
        assert "<h3>By cue" in to_html(report)
    assert "By cue" not in to_html(audit_report(answers, GROUPS, {}, FEW))
