"""What the benchmark of a collection's workers makes of its rounds."""

from __future__ import annotations

import pytest

from tests.benchmarks.collect_workers import summary


def _one(workers: int, seconds: float, rows: str = "a") -> dict[str, object]:
    return {"workers": workers, "seconds": seconds, "content_sha256": rows}


def test_each_number_of_workers_is_compared_within_its_round() -> None:
    found = summary([[_one(1, 110.0), _one(2, 60.0)], [_one(1, 210.0), _one(2, 110.0)]])
    assert found["2"]["median_seconds"] == 85.0
    assert found["2"]["times_as_fast"] == [110 / 60, 210 / 110]


def test_other_rows_are_no_measurement() -> None:
    with pytest.raises(ValueError, match="2 datasets"):
        summary([[_one(1, 110.0), _one(2, 60.0, "b")]])
