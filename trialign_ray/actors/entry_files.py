"""How the candidates of a group's questions lie in files, so that serving a question is one read.

`entry.uint8` holds for each question its candidates' numbers, its prompt and its responses, one behind the other. Read
by `preadv` they land in a batch's own arrays, and no page of a map has to be fetched and then counts as this process's
memory. Where an entry begins and how long its parts are is mapped, 33 bytes a question.
"""

from __future__ import annotations

import hashlib
import os
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from trialign_ray.actors.choice import Candidate, CandidateEntry
from trialign_ray.data.batch import NO_ANSWER, Flags, Ints
from trialign_ray.data.columns import Columns, ColumnWriter, offsets_of, texts
from trialign_ray.data.question_rows import QuestionIndex
from trialign_ray.errors import DataError

LAYOUT = 3
"""Number of what lies in the files; another wherever that changes."""
NUMBERS = np.dtype(
    [("answer", "<i8"), ("utility", "<f4"), ("truth", "<f4"), ("tokens", "<i4"), ("own", "?")], align=True
)
"""Of one candidate; `tokens` is how many its response has."""
_TOKEN = np.dtype("<i4")
_HELD_TEXTS = 256
"""Questions after whose texts the pages that were read are let go of: about 64 KiB for each question and column."""


class EntryWriter:
    """Writes entries, which come sorted by question id, into a new folder.

    Behind the last lies one of no question, with no candidates: it stands for all that the group was not asked.
    """

    def __init__(self, folder: Path) -> None:
        self._columns = ColumnWriter(folder)
        self._question_ids: list[str] = []
        self._candidate = 0

    def __enter__(self) -> Self:
        self._columns.numbers("first_candidate", np.zeros(1, np.int64))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                self._append([CandidateEntry("", b"", False, [])])
                QuestionIndex.write(self._columns, self._question_ids)
        finally:
            self._columns.__exit__(kind, error, trace)

    def write(self, entries: Sequence[CandidateEntry]) -> None:
        """Append entries."""
        if entries:
            self._append(entries)
        self._question_ids += [entry.question_id for entry in entries]

    def _append(self, entries: Sequence[CandidateEntry]) -> None:
        every = [candidate for entry in entries for candidate in entry.candidates]
        end_q = np.cumsum([len(entry.candidates) for entry in entries], dtype=np.int64)
        numbers_q, columns = np.split(_numbers(every), end_q[:-1]), self._columns
        packed = [_packed(entry, numbers) for entry, numbers in zip(entries, numbers_q, strict=True)]
        columns.lists("entry", np.frombuffer(b"".join(packed), np.uint8), np.array([len(each) for each in packed]))
        columns.numbers("first_candidate", self._candidate + end_q)
        columns.numbers("prompt_tokens", np.array([len(entry.prompt) // 4 for entry in entries], np.int32))
        columns.numbers("objective", np.array([entry.objective for entry in entries], np.bool_))
        columns.lists("question_id", *texts(entry.question_id for entry in entries))
        columns.lists("text", *texts(each.said.text for each in every))
        columns.lists("name", *texts(each.said.answer or "" for each in every))
        columns.numbers("name.given", np.array([each.said.answer is not None for each in every], np.bool_))
        self._candidate += len(every)


def _numbers(candidates: Sequence[Candidate]) -> npt.NDArray[Any]:
    made = np.zeros(len(candidates), NUMBERS)
    made["answer"] = [answer_number(each.said.answer) for each in candidates]
    made["utility"] = [each.utility for each in candidates]
    made["truth"] = [each.said.truth or 0.0 for each in candidates]
    made["tokens"] = [len(each.said.ids) // 4 for each in candidates]
    made["own"] = [each.own for each in candidates]
    return made


def _packed(entry: CandidateEntry, numbers_n: npt.NDArray[Any]) -> bytes:
    return b"".join([numbers_n.tobytes(), entry.prompt, *(candidate.said.ids for candidate in entry.candidates)])


def answer_number(answer: str | None) -> int:
    """Number of an answer: a hash, so that it is the same in every process and group."""
    if answer is None:
        return NO_ANSWER
    return 1 + (int.from_bytes(hashlib.sha256(answer.encode()).digest()[:8], "big") >> 2)


@dataclass(frozen=True, slots=True)
class Gathered:
    """The entries of some questions, in new arrays. Letters as in `data.batch`."""

    numbers_n: npt.NDArray[Any]
    """Of dtype NUMBERS."""
    prompt_t: npt.NDArray[np.int32]
    prompt_offset_q: Ints
    response_t: npt.NDArray[np.int32]
    candidate_offset_q: Ints
    objective_q: Flags


class EntryFiles:
    """Reads what an `EntryWriter` wrote."""

    def __init__(self, folder: Path) -> None:
        self._columns = Columns(folder)
        self._path = folder / "entry.uint8"
        self._file = os.open(self._path, os.O_RDONLY)
        weakref.finalize(self, os.close, self._file)
        os.posix_fadvise(self._file, 0, 0, os.POSIX_FADV_RANDOM)
        self._index = QuestionIndex.of(self._columns)
        self.first_candidate: Ints = self._columns.numbers["first_candidate"]
        """[questions + 2]: the candidates of question q are first[q] to first[q + 1]."""
        self._read_texts = 0

    @property
    def questions(self) -> int:
        """How many there are."""
        return len(self._index.key_q)

    @property
    def candidates(self) -> int:
        """Of all questions."""
        return int(self.first_candidate[-1])

    @property
    def question_ids(self) -> tuple[str, ...]:
        """Sorted."""
        names = self._columns.lists["question_id"]
        return tuple(names[q].tobytes().decode() for q in range(self.questions))

    def find(self, question_ids: Sequence[str]) -> Ints:
        """The number of each question, that of no question where the group was not asked it."""
        found = self._index.find(question_ids)
        return np.where(found >= 0, found, self.questions)

    def gather(self, asked_q: Ints) -> Gathered:
        """The entries with these numbers. Raises DataError where the file cannot be read whole."""
        columns, first_byte = self._columns.numbers, self._columns.lists["entry"].offsets
        start_q, prompt_q = first_byte[asked_q], columns["prompt_tokens"][asked_q]
        count_q = self.first_candidate[asked_q + 1] - self.first_candidate[asked_q]
        response_q = (first_byte[asked_q + 1] - start_q - NUMBERS.itemsize * count_q) // _TOKEN.itemsize - prompt_q
        offsets = [offsets_of(each) for each in (count_q, prompt_q, response_q)]
        made = [np.empty(each[-1], kind) for each, kind in zip(offsets, (NUMBERS, _TOKEN, _TOKEN), strict=True)]
        self._fill(made, offsets, start_q)
        return Gathered(made[0], made[1], offsets[1], made[2], offsets[0], columns["objective"][asked_q])

    def _fill(self, made: Sequence[npt.NDArray[Any]], offsets: Sequence[Ints], start_q: Ints) -> None:
        """Read each entry's parts to where they belong in `made`."""
        number, prompt, response = (each.view(np.uint8).data for each in made)
        n, p, r = ((each * kind.dtype.itemsize).tolist() for each, kind in zip(offsets, made, strict=True))
        got = 0
        for q, start in enumerate(start_q.tolist()):
            parts = (number[n[q] : n[q + 1]], prompt[p[q] : p[q + 1]], response[r[q] : r[q + 1]])
            got += os.preadv(self._file, parts, start)
        if got != n[-1] + p[-1] + r[-1]:
            raise DataError(f"{self._path}: cannot be read whole. Remove its folder; it is made anew.")

    def said(self, q: int) -> list[tuple[str, str | None]]:
        """Each candidate of question q as text, and the answer that it names."""
        texts, names = (self._columns.lists[each] for each in ("text", "name"))
        given, rows = self._columns.numbers["name.given"], range(*self.first_candidate[q : q + 2].tolist())
        found = [(_text(texts[n]), _text(names[n]) if given[n] else None) for n in rows]
        self._read_texts += 1
        if self._read_texts % _HELD_TEXTS == 0:
            self._columns.release()
        return found


def _text(values: npt.NDArray[Any]) -> str:
    return values.tobytes().decode()
