"""Checks of rows against the schema, across fields, and across the rows of a dataset."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from trialign_ray.config.game import NEUTRAL
from trialign_ray.data.asked_alike import ASKED, DIGEST_BYTES, asked_digests
from trialign_ray.data.dataset import verify
from trialign_ray.data.fields import FieldFault, field_faults
from trialign_ray.data.readers import RawRow, read_rows
from trialign_ray.data.row_index import Known, Prompt, Row, RowIndex, Untrained
from trialign_ray.errors import RowProblem
from trialign_ray.io.storage import LocationLike

PROBLEMS_KEPT = 20
"""How many problems a summary shows; the others are only counted."""


@dataclass(frozen=True, slots=True)
class Validation:
    """Outcome of checking logs: how many rows, what is wrong with them, and what is odd about the whole."""

    rows: int
    bad_rows: int
    problems: tuple[RowProblem, ...]
    """The first PROBLEMS_KEPT."""
    counts: Mapping[str, int]
    """'field: kind of fault' -> bad rows that have it."""
    warnings: tuple[str, ...]
    untrained: Untrained
    """Good rows that can never train."""

    @property
    def ok(self) -> bool:
        """Whether every row is good; warnings do not count."""
        return self.bad_rows == 0


def row_faults(row: Row) -> list[FieldFault]:
    """What is wrong with one row taken alone: first single fields, then fields that contradict each other."""
    faults = field_faults(row)
    faulty = {fault.field for fault in faults}
    conflicts = (rule(row) for involved, rule in _CONFLICTS if not faulty.intersection(involved))
    return faults + [fault for fault in conflicts if fault is not None]


def _token_counts(row: Row) -> FieldFault | None:
    log_probs = row.get("behaviour_logprobs")
    ids, found = len(row["response_ids"]), len(log_probs) if log_probs is not None else None
    if found is None or ids == found:
        return None
    return FieldFault("response_ids", "conflict", f"has {ids} tokens but 'behaviour_logprobs' has {found}.")


def _answer_of_kind(row: Row) -> FieldFault | None:
    kind, answer = row["answer_kind"], row.get("answer")
    if (kind == "entity") == (answer is not None):
        return None
    found = "is null" if answer is None else f"is {answer!r:.60}"
    return FieldFault("answer", "conflict", f"{found} but 'answer_kind' is '{kind}'; only an entity has an answer.")


def _references_of_kind(row: Row) -> FieldFault | None:
    if (row["kind"] == "objective") == bool(row["references"]):
        return None
    if row["kind"] == "objective":
        return FieldFault("references", "conflict", "is empty but 'kind' is 'objective'; add the accepted answers.")
    return FieldFault("references", "conflict", "is not empty but 'kind' is 'subjective'; empty it, or fix 'kind'.")


def _truth_of_kind(row: Row) -> FieldFault | None:
    reward = row.get("reward_truth")
    if (row["kind"] == "objective") == (reward is not None):
        return None
    if reward is None:
        fix = "add it, or import with a question set (--questions) that scores responses"
        return FieldFault("reward_truth", "missing", f"is missing for an objective question; {fix}.")
    return FieldFault("reward_truth", "conflict", f"is {reward} but 'kind' is 'subjective'; null it, or fix 'kind'.")


def _reward_of_preference(row: Row) -> FieldFault | None:
    if row.get("preference") is None or row.get("reward_preference") is not None:
        return None
    fix = "add it, or import with a question set (--questions) that scores responses"
    return FieldFault("reward_preference", "missing", f"is missing although the row has a 'preference'; {fix}.")


def _cue_of_preference(row: Row) -> FieldFault | None:
    if row.get("preference_cue") is None or row.get("reward_preference") is not None:
        return None
    return FieldFault("preference_cue", "conflict", "is given without 'reward_preference'; give both or neither.")


_CONFLICTS: tuple[tuple[tuple[str, ...], Callable[[Row], FieldFault | None]], ...] = (
    (("response_ids", "behaviour_logprobs"), _token_counts),
    (("answer", "answer_kind"), _answer_of_kind),
    (("kind", "references"), _references_of_kind),
    (("kind", "reward_truth"), _truth_of_kind),
    (("preference", "reward_preference"), _reward_of_preference),
    (("preference", "reward_preference", "preference_cue"), _cue_of_preference),
)


class DatasetChecks:
    """Checks across rows, for rows that are good on their own; what it remembers of them is in a `RowIndex`."""

    def __init__(self, groups: frozenset[str] | None = None, spared: Collection[str] = ()) -> None:
        """`groups` are those that rows may have; None allows any. `spared` fields may be absent, and may differ."""
        self._allowed = groups
        self._spared = spared
        self.groups: set[str] = set()
        """Of the good rows."""
        self.index = RowIndex()
        """What was remembered of the good rows."""
        self._last_asked: tuple[dict[str, Any], bytes] = {}, b""

    def faults(self, raw: RawRow, row: Row) -> list[FieldFault]:
        """What contradicts the declared groups or a good row before it; a row without faults is remembered.

        Raises DataError where there is no space for temporary files.
        """
        known = self.index.find(row)
        asked = self._digests(row) if row["turn"] == 1 else None
        faults = self._stranger(row)
        if known is not None:
            faults += _twin(known) + _other_split(known, row) + _other_label(known, row)
            if asked is not None and known.prompt is not None:
                differing = _otherwise_asked(known.prompt, asked)
                faults += [fault for fault in differing if fault.field not in self._spared]
        if not faults:
            self.groups.add(row["group"])
            self.index.add(raw, row, known, asked)
        return faults

    def _digests(self, row: Row) -> bytes:
        """As `asked_digests`; samples of one prompt mostly follow one another, and are asked the same."""
        asked = {name: row.get(name) for name in ASKED}
        if asked != self._last_asked[0]:
            self._last_asked = asked, asked_digests(row)
        return self._last_asked[1]

    def warnings(self) -> tuple[str, ...]:
        """What is odd about the good rows as a whole."""
        odd = []
        if NEUTRAL not in self.groups:
            odd.append(f"there is no control group '{NEUTRAL}': drop and breakage against it cannot be measured.")
        if lacking := self.index.questions_with_fewer_groups(len(self.groups)):
            questions = self.index.questions()
            odd.append(f"{lacking} of {questions} questions lack some of the {len(self.groups)} groups.")
        return tuple(odd)

    def untrained(self) -> Untrained:
        """Good rows that can never train."""
        return self.index.untrained()

    def _stranger(self, row: Row) -> list[FieldFault]:
        if self._allowed is None or row["group"] in self._allowed:
            return []
        reason = f"is not one of the groups {', '.join(sorted(self._allowed))}: it is '{row['group']}'."
        return [FieldFault("group", "value", reason)]


def _twin(known: Known) -> list[FieldFault]:
    if known.twin is None:
        return []
    same = "question_id, group, protocol, turn, sample"
    return [FieldFault("sample", "duplicate", f"repeats {known.twin}: both have the same {same}.")]


def _other_split(known: Known, row: Row) -> list[FieldFault]:
    if row["split"] == known.split:
        return []
    reason = f"is '{row['split']}' but {known.first_row} has '{known.split}': no split cuts through a question."
    return [FieldFault("split", "conflict", reason)]


def _other_label(known: Known, row: Row) -> list[FieldFault]:
    """One answer that is right for one group and wrong for another would be a difference of labels, not of answers."""
    if known.label is None or row.get("reward_truth") in (None, known.label.truth):
        return []
    reason = (
        f"is {row['reward_truth']:g} for the answer {row['answer']!r:.60}, but {known.label.first_row} has "
        f"{known.label.truth:g} for the same answer to the same question. Correct one of them."
    )
    return [FieldFault("reward_truth", "conflict", reason)]


def _otherwise_asked(first: Prompt, asked: bytes) -> list[FieldFault]:
    """Other words are a prompt of their own; other token ids of the same words, and another rule, contradict."""
    reason = (
        f"differs from that of {first.first_row}, and the responses of one group to one question in turn 1 have one "
        "rule, and one list of token ids for the same messages; give such rows a question_id of their own."
    )
    parts = [slice(at, at + DIGEST_BYTES) for at in range(0, len(asked), DIGEST_BYTES)]
    differing = {name for name, part in zip(ASKED, parts, strict=True) if asked[part] != first.digests[part]}
    if differing >= _PROMPT:
        differing -= _PROMPT
    return [FieldFault(name, "conflict", reason) for name in ASKED if name in differing]


_PROMPT = {"messages", "prompt_ids"}


class Tally:
    """Counts bad rows and their faults while rows go by."""

    def __init__(self, keep: int | None = PROBLEMS_KEPT) -> None:
        self._keep = keep
        self.rows = 0
        self.bad_rows = 0
        self.problems: list[RowProblem] = []
        self.counts: Counter[str] = Counter()

    def add(self, raw: RawRow, faults: list[FieldFault]) -> None:
        """Count one row; one without faults is good."""
        self.rows += 1
        if faults:
            self.bad_rows += 1
            self.counts.update({fault.key for fault in faults})
            room = len(faults) if self._keep is None else self._keep - len(self.problems)
            self.problems += [fault.at(raw.file, raw.row) for fault in faults[: max(room, 0)]]

    def outcome(self, warnings: Iterable[str], untrained: Untrained) -> Validation:
        """What was counted."""
        problems, counts = tuple(self.problems), dict(self.counts)
        return Validation(self.rows, self.bad_rows, problems, counts, tuple(warnings), untrained)


def validate_logs(uri: LocationLike) -> Validation:
    """Check a log dataset: its bytes against its manifest, every row, and the whole.

    Raises DataError where there is no dataset or a part is damaged.
    """
    verify(uri)
    tally, checks = Tally(), DatasetChecks()
    for raw in read_rows(uri):
        faults = row_faults(raw.value) or checks.faults(raw, raw.value)
        tally.add(raw, faults)
    return tally.outcome(checks.warnings(), checks.untrained())
