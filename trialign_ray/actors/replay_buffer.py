"""One group's rollout buffer: candidates by question, out of files; `actors.choice` says which they are.

The files are made from the logs when the buffer is first asked, and lie in the cache of the machine: later buffers of
the same logs, group and choice read them. Neither the log's length nor the number of groups changes what a batch costs,
and hardly what the buffer holds in memory.
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
from trialign_ray.actors.choice import Choice
from trialign_ray.actors.entries import write_entries
from trialign_ray.actors.entry_files import LAYOUT, EntryFiles
from trialign_ray.actors.labels import LabelPolicy
from trialign_ray.actors.right_answers import RightAnswers
from trialign_ray.actors.state import BufferState
from trialign_ray.config.algorithm import UtilitySpec
from trialign_ray.config.train import CandidateSpec
from trialign_ray.data.batch import Flags, Floats, GroupBatch, Ints
from trialign_ray.data.columns import joined, offsets_of, spans
from trialign_ray.data.dataset import Dataset, open_dataset
from trialign_ray.data.writer import package_version
from trialign_ray.io.cache import cache_folder, made_once
from trialign_ray.rewards.trust import TRUSTED_MODULES

_CHOICE = 1
"""Number of how candidates are chosen; another wherever that changes."""
_KEPT_FORMS = 1024
"""Questions whose forms, which a tokenizer writes, a buffer holds at most: several steps' worth."""


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
    """Folder for the files; None is the cache of the machine that the buffer is on."""


class RolloutBuffer:
    """Serves candidates by question id."""

    def __init__(self, spec: BufferSpec) -> None:
        self._spec = spec
        self._forms_of = lru_cache(_KEPT_FORMS)(self._write_forms)
        self.served = 0
        """Candidates handed out so far."""

    @cached_property
    def _entries(self) -> EntryFiles:
        """Opened at the first question, so that a fault of the logs is raised to the caller."""
        spec, logs = self._spec, open_dataset(self._spec.logs)
        cache = cache_folder() / "partitions" if spec.cache is None else Path(spec.cache)
        choice = Choice(spec.group, spec.candidates, spec.utility, spec.stop_ids)

        def make(folder: Path) -> None:
            labels = LabelPolicy.of(spec.candidates.labels, logs)
            write_entries(logs, choice, labels, RightAnswers.of(logs, labels, cache), folder)

        if os.environ.get(TRUSTED_MODULES):  # whose rewards may be others tomorrow, under the same names
            return EntryFiles(self._own_folder(make))
        return EntryFiles(made_once(cache / _name(logs, choice), make))

    def _own_folder(self, make: Callable[[Path], None]) -> Path:
        """A folder that lives as long as this buffer."""
        folder = Path(tempfile.mkdtemp(prefix="trialign-entries-"))
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        make(folder)
        return folder

    @property
    def questions(self) -> int:
        """How many training questions have a first-turn response. Raises DataError for a fault of the logs."""
        return self._entries.questions

    @property
    def question_ids(self) -> tuple[str, ...]:
        """Training questions that have a first-turn response, sorted."""
        return self._entries.question_ids

    @cached_property
    def _reference_n(self) -> Floats:
        """Of every candidate of the log, 4 bytes each; made when the first is stored."""
        return np.full(self._entries.candidates, np.nan, np.float32)

    @cached_property
    def _known_q(self) -> Flags:
        """Questions whose reference log-probs were stored."""
        return np.zeros(self.questions + 1, np.bool_)

    def batch(self, question_ids: Sequence[str]) -> GroupBatch:
        """The candidates of `question_ids`, none for one that this group was not asked. Raises DataError."""
        asked_q = self._entries.find(question_ids)
        found = self._entries.gather(asked_q)
        batch = GroupBatch(
            group=self._spec.group,
            prompt_t=found.prompt_t,
            prompt_offset_q=found.prompt_offset_q,
            response_t=found.response_t,
            response_offset_n=offsets_of(found.numbers_n["tokens"]),
            candidate_offset_q=found.candidate_offset_q,
            utility_n=np.ascontiguousarray(found.numbers_n["utility"]),
            truth_n=np.ascontiguousarray(found.numbers_n["truth"]),
            answer_n=np.ascontiguousarray(found.numbers_n["answer"]),
            own_n=np.ascontiguousarray(found.numbers_n["own"]),
            reference_logp_n=self._reference_of(asked_q, len(found.numbers_n)),
            objective_q=found.objective_q,
            answers=None if self._spec.forms is None else batch_forms([self._forms_of(each) for each in question_ids]),
        )
        self.served += len(batch.own_n)
        return batch

    def _reference_of(self, asked_q: Ints, candidates: int) -> Floats:
        if "_reference_n" not in vars(self):
            return np.full(candidates, np.nan, np.float32)
        return joined(self._reference_n, self._rows(asked_q))

    def _rows(self, asked_q: Ints) -> list[slice]:
        first = self._entries.first_candidate
        return list(map(slice, first[asked_q].tolist(), first[asked_q + 1].tolist()))

    def _write_forms(self, question_id: str) -> QuestionForms:
        (asked,) = self._entries.find([question_id])
        said = self._entries.said(asked)
        return NO_FORMS if self._spec.forms is None or not said else self._spec.forms.of(question_id, said)

    def store_reference(self, question_id: str, logp: Floats) -> None:
        """Keep the reference log-probs of a question's candidates, in their order."""
        asked_q = self._entries.find([question_id])
        (rows,) = self._rows(asked_q)
        self._reference_n[rows] = logp
        self._known_q[asked_q] = True

    def state(self) -> BufferState:
        """What cannot be read from the logs again."""
        known, first = np.flatnonzero(self._known_q[:-1]), self._entries.first_candidate
        return BufferState(
            question_r=known.astype(np.int32),
            count_r=(first[known + 1] - first[known]).astype(np.int32),
            reference_logp_n=joined(self._reference_n, self._rows(known)) if len(known) else np.zeros(0, np.float32),
            served=self.served,
        )

    def load_state(self, state: BufferState) -> None:
        """Continue from `state()`; the logs must be those from which the state came."""
        first = self._entries.first_candidate
        self._reference_n[:], self._known_q[:] = np.nan, False
        self._reference_n[spans(first[state.question_r], first[state.question_r + 1])] = state.reference_logp_n
        self._known_q[state.question_r] = True
        self.served = state.served


def _name(logs: Dataset, choice: Choice) -> str:
    """Of the folder of the entries: all that they depend on."""
    depends: list[object] = [
        LAYOUT,
        _CHOICE,
        package_version(),
        logs.manifest.content_sha256,
        choice.group,
        choice.stop_ids,
    ]
    depends += [choice.candidates.model_dump(exclude={"answers", "distractors", "frames"}), choice.utility.model_dump()]
    digest = hashlib.sha256(json.dumps(depends).encode()).hexdigest()[:16]
    return f"{logs.manifest.content_sha256[:32]}-{choice.group}-{digest}"
