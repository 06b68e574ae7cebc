"""All figures of a report as rows of a pandas table."""

from __future__ import annotations

import pytest

from tests.unit.evaluation.samples import GROUPS, rows_of, table
from trialign_ray import errors
from trialign_ray.evaluation.figures import figure_names
from trialign_ray.evaluation.report.report import AuditReport, audit_report, training_report
from trialign_ray.evaluation.stats.intervals import Bootstrap

GRID, OTHER = [("A", "A", "B"), ("A", "B", "B"), ("?", "A", "!")], [("A", "A", "A"), ("A", "B", "A"), ("A", "A", "!")]
FEW = Bootstrap(resamples=50)


@pytest.fixture(scope="module")
def audited() -> AuditReport:
    return audit_report(table(rows_of(GRID)), GROUPS, {}, FEW)


def test_every_figure_is_a_row_with_its_interval(audited: AuditReport) -> None:
    frame = audited.to_frame()
    assert list(frame.columns) == ["side", "metric", "group", "value", "low", "high"]
    told = {(row.metric, row.group if isinstance(row.group, str) else None): row for row in frame.itertuples()}
    assert len(told) == len(frame)
    for name, figure in audited.audit.flat().items():
        metric, _, group = name.partition(".")
        row = told.pop((metric, group or None))
        expected = [figure.value, figure.low, figure.high] if figure else [float("nan")] * 3
        assert [row.value, row.low, row.high] == pytest.approx(expected, nan_ok=True)
    assert told == {}


def test_a_group_is_had_by_its_name(audited: AuditReport) -> None:
    frame = audited.to_frame()
    accuracy = frame[frame.metric == "accuracy_by_group"].set_index("group")["value"]
    assert accuracy.round(3).to_dict() == {"neutral": 0.667, "nurse": 0.667, "pupil": 0.0}
    assert frame.set_index("metric").loc["gap", "value"] == pytest.approx(2 / 3)


def test_a_training_report_has_both_sides_and_their_difference() -> None:
    report = training_report(table(rows_of(GRID)), table(rows_of(OTHER)), GROUPS, {}, FEW)
    frame = report.to_frame()
    assert list(frame["side"].unique()) == ["base", "trained", "difference"]
    gap = frame[frame.metric == "gap"].set_index("side")["value"]
    assert gap["difference"] == pytest.approx(gap["trained"] - gap["base"])
    assert set(figure_names(type(report.difference))) >= set(frame[frame.side == "difference"].metric)


def test_without_pandas_the_extra_is_named(audited: AuditReport, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(errors, "find_spec", lambda name: None)
    with pytest.raises(errors.MissingExtraError, match=r"^pandas: not installed. Run: .*trialign-ray\[pandas\]'"):
        audited.to_frame()
