"""The summary of a job: tables that Markdown reads, with nothing in them that it would read as more."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.evaluation.samples import GROUPS, rows_of, table
from trialign_ray.errors import DataError
from trialign_ray.evaluation.gates import parse_gates
from trialign_ray.evaluation.report.markdown import append_markdown, to_markdown
from trialign_ray.evaluation.report.report import AuditReport, audit_report
from trialign_ray.evaluation.stats.intervals import Bootstrap


def report(name: str = "mine") -> AuditReport:
    grid = [("A", "A", "B"), ("A", "B", "B"), ("A", "A", "!")]
    return audit_report(table(rows_of(grid)), GROUPS, {"name": name}, Bootstrap(resamples=50))


def test_figures_groups_and_reference_rows_are_in_tables_of_equal_width() -> None:
    text = to_markdown(report())
    assert text.startswith("## Truth by group: mine\n\n3 questions with a truth, 3 groups, 1 response each\n")
    assert "| pupil | 0.0 % | 66.7 % | 0.0 % | 33.3 % | 0.0 % | 0.0 % |" in text
    assert "| neutral answer to all | 1 | 100.0 %" in text
    assert "| Mean accuracy | 55.6 % |" in text
    for block in text.split("\n\n"):
        widths = {line.count("|") for line in block.splitlines() if line.startswith("|")}
        assert len(widths) <= 1, block


def test_each_gate_says_whether_it_fails_and_what_was_measured() -> None:
    gates = parse_gates(["gap>0.5", "gap.low>1", "contradiction_excess>0", "accuracy_by_group.nurse<0.7"], GROUPS)
    lines = to_markdown(report(), gates).splitlines()
    assert any(line.startswith("| gap>0.5 | ❌ fails | 1 (") for line in lines)
    assert any(line.startswith("| gap.low>1 | ✅ passes | 1 (") for line in lines)
    assert "| contradiction_excess>0 | not measured | – |" in lines
    assert any(line.startswith("| accuracy_by_group.nurse&lt;0.7 | ❌ fails | 0.6667 (") for line in lines)


def test_a_name_ends_no_cell_and_begins_no_tag() -> None:
    head = to_markdown(report("a|b\n<img src=x>")).splitlines()[0]
    assert head == "## Truth by group: a\\|b &lt;img src=x>"


def test_it_is_put_behind_what_a_summary_holds(tmp_path: Path) -> None:
    file = tmp_path / "summary.md"
    file.write_text("# Before\n")
    append_markdown(report(), (), file)
    append_markdown(report("second"), (), file)
    text = file.read_text()
    assert text.startswith("# Before\n## Truth by group: mine\n")
    assert text.count("## Truth by group") == 2


def test_a_summary_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no-folder/s\.md: cannot be written"):
        append_markdown(report(), (), tmp_path / "no-folder" / "s.md")
