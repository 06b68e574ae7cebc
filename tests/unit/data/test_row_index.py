"""What an import remembers of its rows takes no memory that grows with them."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from trialign_ray.data import row_index
from trialign_ray.data.normalisation import Completer, Completion
from trialign_ray.data.readers import RawRow
from trialign_ray.data.row_index import Prompt, RowIndex, SampleCounter, TemporaryDatabase
from trialign_ray.data.validation import DatasetChecks
from trialign_ray.errors import DataError

from .samples import row


def check(checks: DatasetChecks, number: int) -> None:
    one = row(question_id=f"q{number // 4}", sample=number % 4)
    assert checks.faults(RawRow("a.jsonl", number + 1, one), one) == []


def number_sample(completer: Completer, number: int) -> None:
    [(completed, _)] = completer.rows(RawRow("a.jsonl", number + 1, row(question_id=f"q{number}", sample=None)))
    assert completed["sample"] == 0


def bytes_held(make: Callable[[], object], use: Callable[..., None], rows: int) -> int:
    """What is allocated by the interpreter for an object that has seen `rows` rows."""
    tracemalloc.start()
    held = make()
    for number in range(rows):
        use(held, number)
    try:
        return tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("make", "use"), [(DatasetChecks, check), (lambda: Completer(Completion()), number_sample)], ids=["rows", "samples"]
)
def test_memory_does_not_grow_with_the_rows(make: Callable[[], object], use: Callable[..., None]) -> None:
    bytes_held(make, use, 100)  # caches of the interpreter fill
    few, many = (bytes_held(make, use, rows) for rows in (500, 2500))
    assert (many - few) / 2000 < 10  # bytes a row


def test_what_memory_does_not_hold_is_in_a_file_and_found_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_index, "_CACHE_KIB", 64)
    before, checks = temporary_files(), DatasetChecks()
    for number in range(10_000):
        check(checks, number)
    assert len(temporary_files() - before) == 1
    again = row(question_id="q0", sample=0)
    [fault] = checks.faults(RawRow("b.jsonl", 7, again), again)
    assert (fault.code, "repeats a.jsonl:1:" in fault.reason) == ("duplicate", True)
    del checks
    assert temporary_files() <= before


def temporary_files() -> set[str]:
    """The files without a name that SQLite has open in this process."""
    links = {str(file.readlink()) for file in Path("/proc/self/fd").iterdir() if file.is_symlink()}
    return {link for link in links if "etilqs" in link}


def test_a_full_disk_is_an_error_that_says_which_setting_helps() -> None:
    database = TemporaryDatabase("CREATE TABLE line (text TEXT);")
    database.rows("PRAGMA max_page_count = 3")
    with pytest.raises(DataError, match=r"temporary database.*full.*TMPDIR"):
        database.rows("INSERT INTO line VALUES (?)", "x" * 40_000)


def test_samples_are_counted_by_prompt() -> None:
    counter = SampleCounter()
    prompts = [("q", "a", "debate", 1), ("q", "a", "debate", 2), ("q\0", "a", "debate", 1), ("q", "b", "debate", 1)]
    assert [counter.next(*prompt) for prompt in prompts * 3] == [0] * 4 + [1] * 4 + [2] * 4


def test_a_later_turn_counts_the_group_and_the_first_turn_its_prompt() -> None:
    index = RowIndex()
    later, first = row(turn=2), row()
    index.add(RawRow("a.jsonl", 1, later), later, None, None)
    known = index.find(first)
    assert known is not None
    assert (known.first_row, known.twin, known.prompt) == ("a.jsonl:1", None, None)
    assert (index.questions(), index.questions_with_fewer_groups(1), index.questions_with_fewer_groups(2)) == (1, 0, 1)
    index.add(RawRow("a.jsonl", 2, first), first, known, b"asked")
    index.add(RawRow("a.jsonl", 3, row(sample=1)), row(sample=1), index.find(row(sample=1)), b"else")
    known = index.find(first)
    assert known is not None
    assert (known.twin, known.prompt) == ("a.jsonl:2", Prompt("a.jsonl:2", b"asked"))


class Names(dict[str, int]):
    """Counts how often it is gone through."""

    passes = 0

    def __iter__(self) -> Iterator[str]:
        Names.passes += 1
        return super().__iter__()


def test_to_name_a_row_does_not_go_through_all_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """A log of many files, each of one row: going through them at every row would be quadratic."""
    monkeypatch.setattr(Names, "passes", 0)
    index = RowIndex()
    index._numbers = Names()
    for number in range(300):
        one = row(question_id="q", sample=number)
        known = index.find(one)
        assert known is None or known.first_row == "0.jsonl:1"
        index.add(RawRow(f"{number}.jsonl", 1, one), one, known, b"")
    assert Names.passes == 0
    last = index.find(row(question_id="q", sample=299))
    assert last is not None
    assert last.twin == "299.jsonl:1"
