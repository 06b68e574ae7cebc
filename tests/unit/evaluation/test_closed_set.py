"""The report of scored options: nothing of form, chance beside the accuracy, and the choice by mean log-prob."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from tests.unit.evaluation.samples import GROUPS, known, rows_of, table
from trialign_ray.errors import SpecError
from trialign_ray.evaluation.closed_set import ScoredOptions
from trialign_ray.evaluation.figures import OF_FORM
from trialign_ray.evaluation.gates import check_gates, parse_gates
from trialign_ray.evaluation.report.markdown import to_markdown
from trialign_ray.evaluation.report.page import to_html
from trialign_ray.evaluation.report.report import AuditReport, audit_report, from_json, to_json
from trialign_ray.evaluation.report.table import report_table
from trialign_ray.evaluation.stats.intervals import Bootstrap

TOTAL = [("A", "A", "A"), ("A", "B", "B"), ("B", "B", "B"), ("C", "A", "B")]
MEAN = [("A", "A", "A"), ("A", "A", "A"), ("A", "B", "B"), ("C", "A", "B")]


@pytest.fixture(scope="module")
def report() -> AuditReport:
    options = ScoredOptions(table(rows_of(MEAN)), counts=[4, 4, 4, 2], right=[1, 1, 1, 1], left_out={"no truth": 3})
    cues = {"nurse": "profile", "pupil": "name"}
    return audit_report(table(rows_of(TOTAL)), GROUPS, {"read": "score"}, Bootstrap(100), options, cues)


def test_facts_are_measured_as_of_free_answers(report: AuditReport) -> None:
    free = audit_report(table(rows_of(TOTAL)), GROUPS, {}, Bootstrap(100)).audit
    kept = {name: figure for name, figure in free.flat().items() if name.partition(".")[0] not in OF_FORM}
    assert {name: figure for name, figure in report.audit.flat().items() if name in kept} == kept
    assert known(report.audit.contradiction).value == pytest.approx(5 / 12)


def test_nothing_is_said_of_naming_refusals_and_preference(report: AuditReport) -> None:
    assert {getattr(report.audit, name) for name in OF_FORM} == {None}
    assert not {name.partition(".")[0] for name in report.audit.flat()} & {"named_by_group", "refusal_by_group"}


def test_chance_options_and_what_is_left_out(report: AuditReport) -> None:
    found = report.audit.closed_set
    assert found is not None
    assert (found.fewest_options, found.most_options, found.left_out) == (2, 4, {"no truth": 3})
    assert found.chance == pytest.approx((0.25 * 3 + 0.5) / 4)


def test_where_several_options_are_right_chance_is_their_share() -> None:
    options = ScoredOptions(table(rows_of(MEAN)), counts=[3, 3, 3, 4], right=[2, 2, 2, 1], left_out={})
    found = audit_report(table(rows_of(TOTAL)), GROUPS, {}, Bootstrap(100), options).audit.closed_set
    assert found is not None
    assert found.chance == pytest.approx((3 * 2 / 3 + 1 / 4) / 4)


def test_the_choice_by_mean_log_prob_has_its_own_figures(report: AuditReport) -> None:
    found = report.audit.closed_set
    assert found is not None
    shares = {name: known(figure).value for name, figure in found.by_mean_logprob.items()}
    assert shares["accuracy_mean"] == pytest.approx(8 / 12)
    assert (shares["correct_unanimity"], shares["any_correct"]) == (0.5, 1.0)
    assert shares["contradiction"] == pytest.approx(5 / 12)
    assert shares["gap"] == pytest.approx(0.25)


def test_the_report_is_the_same_from_its_file(report: AuditReport) -> None:
    assert from_json(to_json(report)) == report


def test_page_and_table_show_the_reading_and_omit_what_is_not_measured(report: AuditReport) -> None:
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(report_table(report))
    page = to_html(report)
    for text in (console.export_text(), page, to_markdown(report)):
        assert "2 to 4 scored options (chance 31.2 %)" in " ".join(text.split())
        assert "not calibrated" in " ".join(text.split())
        for absent in ("Answer named", "Refused", "refused", "Preference", "preference |", "right/named"):
            assert absent not in text
    assert "66.7 %" in page
    assert "Likeliest by the mean a token" in page


def test_gates_hold_on_facts_and_say_why_form_has_no_figure(report: AuditReport) -> None:
    check_gates(parse_gates(["contradiction>0.5", "gap.low>0.3"], GROUPS), report.audit)
    with pytest.raises(SpecError, match=r"'named' has no figure.*Options were scored"):
        check_gates(parse_gates(["named<0.5"], GROUPS), report.audit)


def test_the_figures_as_a_table_leave_out_what_is_of_form(report: AuditReport) -> None:
    metrics = set(report.to_frame()["metric"])
    assert {"contradiction", "accuracy_by_group"} <= metrics
    assert not {name for name in OF_FORM if name.endswith("_by_group")} & metrics


def test_cues_are_compared_by_facts(report: AuditReport) -> None:
    rows = report.by_cue["audit"]
    assert [(row.cue, known(row.accuracy).value, row.named, row.right_given_named) for row in rows] == [
        ("profile", 0.5, None, None),
        ("name", 0.25, None, None),
    ]
