"""Lines of limited length."""

from __future__ import annotations

import gzip
import io
from pathlib import Path

import pytest

from trialign_ray.data.readers import read_rows
from trialign_ray.errors import DataError
from trialign_ray.io import lines
from trialign_ray.io.lines import bounded_lines


def test_lines_come_as_they_are_and_one_that_is_too_long_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "LINE_BYTES", 4)
    assert list(bounded_lines(io.BytesIO(b"abc\nd\n\nabcd"), "f")) == [b"abc\n", b"d\n", b"\n", b"abcd"]
    found = bounded_lines(io.BytesIO(b"a\nabcd\n"), "logs.jsonl")
    assert next(found) == b"a\n"
    with pytest.raises(DataError, match=r"logs\.jsonl:2: the line is longer than 0 MB"):
        next(found)


def test_a_small_archive_of_one_endless_line_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    with gzip.open(tmp_path / "bomb.jsonl.gz", "wb", compresslevel=1) as file:
        for _ in range(80):
            file.write(b"x" * (1 << 20))
    with pytest.raises(DataError, match=r"bomb\.jsonl\.gz:1: the line is longer than 64 MB"):
        next(read_rows(tmp_path / "bomb.jsonl.gz"))
