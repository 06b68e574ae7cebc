"""Where bad rows wait, and how many of them are kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from trialign_ray.data.importers import import_logs

from .samples import json_lines, row

BAD = [row(turn=0, sample=number) for number in range(30)]


def sources(folder: Path) -> list[Path]:
    file = folder / "rows.jsonl"
    file.write_text(json_lines([*(row(sample=number) for number in range(30)), *BAD]))
    return [file]


def test_bad_rows_wait_on_the_disk_that_their_file_comes_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The system's folder for temporary files may be a small one in memory."""
    monkeypatch.setattr("trialign_ray.data.rejects._SPOOLED_BYTES", 100)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "nowhere"))
    report = import_logs(sources(tmp_path), tmp_path / "deep" / "logs")
    assert report.reject_file is not None
    assert len(Path(report.reject_file).read_text().splitlines()) == report.rows_rejected == 30
    assert {path.name for path in (tmp_path / "deep").iterdir()} == {"logs", "logs.rejects.jsonl"}


def test_of_more_bad_rows_than_may_be_kept_the_first_are_and_the_others_are_counted(tmp_path: Path) -> None:
    whole = Path(str(import_logs(sources(tmp_path), tmp_path / "whole").reject_file)).read_bytes()
    report = import_logs(sources(tmp_path), tmp_path / "logs", reject_bytes=len(whole) // 2)
    kept = Path(str(report.reject_file)).read_bytes()
    assert whole.startswith(kept)
    assert len(kept) <= len(whole) // 2 < len(kept) + len(whole.splitlines()[0])
    left_out = 30 - len(kept.splitlines())
    assert report.rows_rejected == 30
    assert f"{left_out} of 30 bad rows are counted but not in the reject file" in report.warnings[-1]
