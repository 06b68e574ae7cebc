"""What is written of entries is what is read, in whatever blocks it was written and in whatever order it is asked."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trialign_ray.actors import entry_files
from trialign_ray.actors.choice import Candidate, CandidateEntry, Heard
from trialign_ray.actors.entry_files import EntryFiles, EntryWriter, answer_number
from trialign_ray.errors import DataError

IDS = st.lists(st.integers(0, 2**31 - 1), max_size=4).map(lambda ids: np.array(ids, np.int32).tobytes())
TRUTHS = st.sampled_from([None, 0.0, 1.0])
HEARD = st.builds(Heard, IDS, st.text(max_size=5), st.none() | st.text(max_size=5), TRUTHS, st.just(1))
CANDIDATES = st.lists(st.builds(Candidate, HEARD, st.floats(0, 1, width=32), st.booleans()), max_size=3)
ENTRIES = st.lists(st.tuples(IDS, st.booleans(), CANDIDATES), max_size=6).map(
    lambda found: [CandidateEntry(f"q{number}", *each) for number, each in enumerate(found)]
)


def written(folder: Path, *blocks: Sequence[CandidateEntry]) -> EntryFiles:
    with EntryWriter(folder) as writer:
        for block in blocks:
            writer.write(block)
    return EntryFiles(folder)


@given(entries=ENTRIES, cut=st.integers(0, 6), data=st.data())
def test_entries_are_read_as_they_were_written(entries: list[CandidateEntry], cut: int, data: st.DataObject) -> None:
    asked = data.draw(st.lists(st.integers(0, len(entries)), max_size=8))
    known = [*entries, CandidateEntry("unknown", b"", False, [])]
    with TemporaryDirectory() as folder:
        files = written(Path(folder) / "made", entries[:cut], entries[cut:])
        asked_q = files.find([known[number].question_id for number in asked])
        assert asked_q.tolist() == asked
        found = files.gather(asked_q)
        texts = [files.said(number) for number in asked]
    assert found.objective_q.tolist() == [known[number].objective for number in asked]
    assert found.prompt_t.tobytes() == b"".join(known[number].prompt for number in asked)
    every = [candidate for number in asked for candidate in known[number].candidates]
    assert found.response_t.tobytes() == b"".join(candidate.said.ids for candidate in every)
    assert found.numbers_n.tolist() == [
        (answer_number(said.answer), utility, said.truth or 0.0, len(said.ids) // 4, own)
        for said, utility, own in every
    ]
    assert np.diff(found.candidate_offset_q).tolist() == [len(known[number].candidates) for number in asked]
    assert np.diff(found.prompt_offset_q).tolist() == [len(known[number].prompt) // 4 for number in asked]
    assert texts == [[(each.said.text, each.said.answer) for each in known[number].candidates] for number in asked]


def entry(number: int) -> CandidateEntry:
    said = Heard(np.array([number, 2], np.int32).tobytes(), f"answer {number}", f"{number}", 1.0, 1)
    return CandidateEntry(f"q{number}", b"\1\0\0\0", True, [Candidate(said, 0.5, True)])


def test_pages_of_texts_are_let_go_of_and_can_be_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    released: list[int] = []
    files = written(tmp_path / "made", [entry(number) for number in range(4)])
    monkeypatch.setattr(entry_files, "_HELD_TEXTS", 2)
    monkeypatch.setattr(files._columns, "release", lambda: released.append(1))
    assert [files.said(number)[0] for number in (0, 1, 2, 3, 0)] == [
        (f"answer {number}", f"{number}") for number in (0, 1, 2, 3, 0)
    ]
    assert len(released) == 2


def test_a_file_that_was_cut_is_refused(tmp_path: Path) -> None:
    files = written(tmp_path / "made", [entry(number) for number in range(2)])
    with (tmp_path / "made" / "entry.uint8").open("r+b") as file:
        file.truncate(50)
    with pytest.raises(DataError, match=r"entry\.uint8: cannot be read whole"):
        files.gather(files.find(["q0", "q1"]))


def test_a_writing_that_fails_leaves_no_index(tmp_path: Path) -> None:
    torn = entry(0)._replace(prompt=None)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        written(tmp_path / "made", [entry(1), torn])
    assert not list((tmp_path / "made").glob("key*"))
