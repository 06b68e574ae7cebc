"""Lines of limited length."""

from __future__ import annotations

import gzip
import io
from pathlib import Path

import pytest

from trialign_ray.data.readers import read_rows
from trialign_ray.errors import DataError
from trialign_ray.io import lines
from trialign_ray.io.lines import line_blocks


@pytest.mark.parametrize("size", [1, 3, 4])
def test_blocks_are_whole_lines_and_one_that_is_too_long_ends_them(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    monkeypatch.setattr(lines, "LINE_BYTES", 4)
    text = b"abc\nd\n\nabcd"
    blocks = list(line_blocks(io.BytesIO(text), "f", size))
    assert b"".join(blocks) == text
    assert all(block.endswith(b"\n") for block in blocks[:-1])
    with pytest.raises(DataError, match=r"logs\.jsonl:2: the line is longer than 0 MB"):
        list(line_blocks(io.BytesIO(b"a\nabcde\n"), "logs.jsonl", size))


def test_a_small_archive_of_one_endless_line_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    with gzip.open(tmp_path / "bomb.jsonl.gz", "wb", compresslevel=1) as file:
        for _ in range(80):
            file.write(b"x" * (1 << 20))
    with pytest.raises(DataError, match=r"bomb\.jsonl\.gz:1: the line is longer than 64 MB"):
        next(read_rows(tmp_path / "bomb.jsonl.gz"))
