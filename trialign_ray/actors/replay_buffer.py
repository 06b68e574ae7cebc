"""One group's rollout buffer: candidates by question, out of memory-mapped files; `actors.entries` says which they are.

The files are made from the logs when the buffer is first asked, and lie in the cache of the machine: later buffers of
the same logs, group and choice map them. Serving gathers rows of flat arrays, so that neither the log's length nor the
number of groups changes what a batch costs or what the buffer holds in memory.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np

from trialign_ray.actors.answer_forms import NO_FORMS, FormWriter, QuestionForms, batch_forms
from trialign_ray.actors.entries import Choice, write_entries
from trialign_ray.actors.labels import LabelPolicy
from trialign_ray.actors.right_answers import RightAnswers
from trialign_ray.actors.state import BufferState
from trialign_ray.config.algorithm import UtilitySpec
from trialign_ray.config.train import CandidateSpec
from trialign_ray.data.batch import Flags, Floats, GroupBatch, Ints
from trialign_ray.data.columns import Columns, Ragged, joined, offsets_of, spans
from trialign_ray.data.dataset import Dataset, open_dataset
from trialign_ray.data.question_rows import QuestionIndex
from trialign_ray.data.writer import package_version
from trialign_ray.io.cache import cache_folder, made_once
from trialign_ray.rewards.trust import TRUSTED_MODULES

_LAYOUT = 1
"""Number of what lies in the files of entries; another wherever their columns or the choice change."""
_KEPT_FORMS = 1024
"""Questions whose forms, which a tokenizer writes, a buffer holds at most: several steps' worth."""
_HELD_QUESTIONS = 256
"""Questions after which the pages that were read are let go of: about 64 KiB for each question and column."""


@dataclass(frozen=True, slots=True)
class BufferSpec:
    """What a buffer is built from; the same spec always gives the same candidates."""

    logs: str | Dataset
    group: str
    candidates: CandidateSpec
    utility: UtilitySpec
    stop_ids: tuple[int, ...]
    """Only responses that ended are borrowed: a cut-off one would teach to stop anywhere."""
    forms: FormWriter | None = None
    """Writes the closed set of answers of each question; None where there is none."""
    cache: str | None = None
    """Folder for the memory-mapped files; None is the cache of the machine that the buffer is on."""


class RolloutBuffer:
    """Serves candidates by question id."""

    def __init__(self, spec: BufferSpec) -> None:
        self._spec = spec
        self._forms_of = lru_cache(_KEPT_FORMS)(self._write_forms)
        self._read = 0
        self.served = 0
        """Candidates handed out so far."""

    @cached_property
    def _entries(self) -> Columns:
        """Opened at the first question, so that a fault of the logs is raised to the caller."""
        spec, logs = self._spec, open_dataset(self._spec.logs)
        cache = cache_folder() / "partitions" if spec.cache is None else Path(spec.cache)
        choice = Choice(spec.group, spec.candidates, spec.utility, spec.stop_ids)

        def make(folder: Path) -> None:
            labels = LabelPolicy.of(spec.candidates.labels, logs)
            write_entries(logs, choice, labels, RightAnswers.of(logs, labels, cache), folder)

        if os.environ.get(TRUSTED_MODULES):  # whose rewards may be others tomorrow, under the same names
            return Columns(self._own_folder(make))
        return Columns(made_once(cache / _name(logs, choice), make))

    def _own_folder(self, make: Callable[[Path], None]) -> Path:
        """A folder that lives as long as this buffer."""
        folder = Path(tempfile.mkdtemp(prefix="trialign-entries-"))
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        make(folder)
        return folder

    @cached_property
    def _index(self) -> QuestionIndex:
        return QuestionIndex.of(self._entries)

    @property
    def questions(self) -> int:
        """How many training questions have a first-turn response. Raises DataError for a fault of the logs."""
        return len(self._index.key_q)

    @property
    def question_ids(self) -> tuple[str, ...]:
        """Training questions that have a first-turn response, sorted."""
        names = self._entries.lists["question_id"]
        return tuple(names[q].tobytes().decode() for q in range(self.questions))

    @cached_property
    def _reference_n(self) -> Floats:
        """Of every candidate of the log, 4 bytes each; made when the first is stored."""
        return np.full(len(self._entries.numbers["own"]), np.nan, np.float32)

    @cached_property
    def _known_q(self) -> Flags:
        """Questions whose reference log-probs were stored."""
        return np.zeros(self.questions + 1, np.bool_)

    def batch(self, question_ids: Sequence[str]) -> GroupBatch:
        """The candidates of `question_ids`, none for one that this group was not asked. Raises DataError."""
        entries, (asked_q, (start_q, end_q)) = self._entries, self._candidates(question_ids)
        # What belongs to a question lies together: joining slices is several times as fast as picking rows.
        rows = list(map(slice, start_q.tolist(), end_q.tolist()))
        prompts, responses = entries.lists["prompt"].take(asked_q), entries.lists["response"].joined(rows)
        numbers = entries.numbers
        batch = GroupBatch(
            group=self._spec.group,
            prompt_t=prompts.values,
            prompt_offset_q=prompts.offsets,
            response_t=responses.values,
            response_offset_n=responses.offsets,
            candidate_offset_q=offsets_of(end_q - start_q),
            utility_n=joined(numbers["utility"], rows),
            truth_n=joined(numbers["truth"], rows),
            answer_n=joined(numbers["answer"], rows),
            own_n=joined(numbers["own"], rows),
            reference_logp_n=self._reference_of(rows, int((end_q - start_q).sum())),
            objective_q=numbers["objective"][asked_q],
            answers=None if self._spec.forms is None else batch_forms([self._forms_of(each) for each in question_ids]),
        )
        self.served += len(batch.own_n)
        self._let_go(len(question_ids))
        return batch

    def _candidates(self, question_ids: Sequence[str]) -> tuple[Ints, tuple[Ints, Ints]]:
        """The entry of each question, that of no question where it was not asked, and its candidates' first and end."""
        found = self._index.find(question_ids)
        asked_q = np.where(found >= 0, found, self.questions)
        first = self._entries.numbers["first_candidate"]
        return asked_q, (first[asked_q], first[asked_q + 1])

    def _reference_of(self, rows: Sequence[slice], candidates: int) -> Floats:
        if "_reference_n" not in vars(self):
            return np.full(candidates, np.nan, np.float32)
        return joined(self._reference_n, rows)

    def _let_go(self, questions: int) -> None:
        self._read += questions
        if self._read >= _HELD_QUESTIONS:
            self._entries.release()
            self._read = 0

    def _write_forms(self, question_id: str) -> QuestionForms:
        _, ((start,), (end,)) = self._candidates([question_id])
        if self._spec.forms is None or start == end:
            return NO_FORMS
        texts, names, given = (
            self._entries.lists["text"],
            self._entries.lists["name"],
            self._entries.numbers["name.given"],
        )
        wordings = [(_text(texts, n), _text(names, n) if given[n] else None) for n in range(start, end)]
        return self._spec.forms.of(question_id, wordings)

    def store_reference(self, question_id: str, logp: Floats) -> None:
        """Keep the reference log-probs of a question's candidates, in their order."""
        (entry,), ((start,), (end,)) = self._candidates([question_id])
        self._reference_n[start:end] = logp
        self._known_q[entry] = True

    def state(self) -> BufferState:
        """What cannot be read from the logs again."""
        known = np.flatnonzero(self._known_q[:-1])
        first = self._entries.numbers["first_candidate"]
        rows = list(map(slice, first[known].tolist(), first[known + 1].tolist()))
        return BufferState(
            question_r=known.astype(np.int32),
            count_r=(first[known + 1] - first[known]).astype(np.int32),
            reference_logp_n=joined(self._reference_n, rows) if rows else np.zeros(0, np.float32),
            served=self.served,
        )

    def load_state(self, state: BufferState) -> None:
        """Continue from `state()`; the logs must be those from which the state came."""
        first = self._entries.numbers["first_candidate"]
        self._reference_n[:], self._known_q[:] = np.nan, False
        self._reference_n[spans(first[state.question_r], first[state.question_r + 1])] = state.reference_logp_n
        self._known_q[state.question_r] = True
        self.served = state.served


def _text(texts: Ragged, row: int) -> str:
    return texts[row].tobytes().decode()


def _name(logs: Dataset, choice: Choice) -> str:
    """Of the folder of the entries: all that they depend on."""
    depends: list[object] = [_LAYOUT, package_version(), logs.manifest.content_sha256, choice.group, choice.stop_ids]
    depends += [choice.candidates.model_dump(exclude={"answers", "distractors", "frames"}), choice.utility.model_dump()]
    digest = hashlib.sha256(json.dumps(depends).encode()).hexdigest()[:16]
    return f"{logs.manifest.content_sha256[:32]}-{choice.group}-{digest}"
