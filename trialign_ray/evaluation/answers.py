"""Answers as dense arrays: from a table in the log schema to [question, group, sample].

Every group must have answered every question: a metric over what happens to be there would compare groups on
different questions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from trialign_ray.config.game import NEUTRAL
from trialign_ray.errors import DataError
from trialign_ray.evaluation.rows import Rows, floats, read_rows
from trialign_ray.rewards.verifiers import USUAL, Reasoning

_REFUSAL_CODE = -1
_SHOWN = 3
_DOUBLED = "Keep one turn of one protocol (deployment is turn 1)."
_MISSING = "Collect what is missing, or leave the question or the group out for all."


@dataclass(frozen=True, slots=True)
class AskedQuestion:
    """One question, as asked."""

    question_id: str
    text: str
    topic: str
    references: tuple[str, ...]
    objective: bool


@dataclass(frozen=True, slots=True, eq=False)
class Answers:
    """All answers; letters q question (sorted by id), g group, s sample."""

    questions: tuple[AskedQuestion, ...]
    groups: tuple[str, ...]
    objective_q: NDArray[np.float64]
    """1 where the question has a truth, else 0."""
    correct_qgs: NDArray[np.float64]
    """1 right, 0 wrong; 0 on subjective questions."""
    code_qgs: NDArray[np.int64]
    """Two answers to a question are the same where their codes are. No two failed extractions share one."""
    kind_qgs: NDArray[np.str_]
    """`answer_kind` of the log schema, or 'empty' where there is nothing to extract an answer from."""
    answer_qgs: NDArray[np.object_]
    response_qgs: NDArray[np.object_]
    shown_qgs: NDArray[np.object_]
    """What the person reads of each response: all but its reasoning; '' where that is cut off."""
    preference_qgs: NDArray[np.float64]
    """In [0, 1]; NaN where the group has no preference."""
    cue_qgs: NDArray[np.object_]
    """'explicit', 'implicit' or None."""
    rule_qgs: NDArray[np.object_]
    """The preference rule as JSON, None where the group has none or the logs do not tell it."""

    @property
    def samples(self) -> int:
        """Responses for each question and group."""
        return int(self.code_qgs.shape[2])

    @property
    def control(self) -> int | None:
        """Index of the control group, None where there is none."""
        return self.groups.index(NEUTRAL) if NEUTRAL in self.groups else None

    @property
    def personas(self) -> list[int]:
        """Indices of all groups but the control."""
        return [g for g, name in enumerate(self.groups) if name != NEUTRAL]


def read_answers(
    table: pa.Table, groups: Sequence[str], where: str = "answers", reasoning: Reasoning = USUAL
) -> Answers:
    """Arrange the rows of `table` (log schema) by question, group and sample.

    Args:
        table: at least the columns `rows.COLUMNS`; the order of its rows does not matter.
        groups: all groups, the control first.
        where: names the table in errors.
        reasoning: finds what is shown of a response.

    Raises:
        DataError: a column, a question's group or a sample is missing or doubled, or no question is objective.
        RowError: a row breaks the schema.
    """
    if len(groups) < 2 or len(set(groups)) != len(groups):
        raise DataError(f"groups {list(groups)}: an audit compares at least two groups; name each once.")
    rows = read_rows(table, groups, where)
    ids, question_of = np.unique(rows["question_id"].astype(str), return_inverse=True)
    samples, sample_of = np.unique(rows["sample"].astype(np.int64), return_inverse=True)
    group_of = np.array([list(groups).index(name) for name in rows["group"]])
    shape = (len(ids), len(groups), len(samples))
    cell_of = np.ravel_multi_index((question_of, group_of, sample_of), shape)
    counts_qgs = np.bincount(cell_of, minlength=int(np.prod(shape))).reshape(shape)
    axes = (ids.tolist(), groups, samples.tolist())
    _refuse_cells(counts_qgs > 1, axes, f"{where}: has more than one answer to", _DOUBLED)
    _refuse_cells(counts_qgs == 0, axes, f"{where}: has no answer to", _MISSING)
    order = np.argsort(cell_of)
    cells = {name: column[order].reshape(shape) for name, column in rows.items()}
    return _arrange(cells, tuple(groups), where, reasoning)


def _refuse_cells(bad_qgs: NDArray[np.bool_], axes: Sequence[Sequence[Any]], fault: str, fix: str) -> None:
    cells = np.argwhere(bad_qgs)
    if len(cells) == 0:
        return
    named = [[axis[index] for axis, index in zip(axes, cell, strict=True)] for cell in cells[:_SHOWN]]
    shown = "; ".join(f"question '{q}' of group '{g}', sample {s}" for q, g, s in named)
    more = f"; and {len(cells) - _SHOWN} more" if len(cells) > _SHOWN else ""
    raise DataError(f"{fault} {shown}{more}. {fix}")


def _arrange(cells: Rows, groups: tuple[str, ...], where: str, reasoning: Reasoning) -> Answers:
    objective_q = (cells["kind"][:, 0, 0] == "objective").astype(np.float64)
    if not objective_q.any():
        raise DataError(f"{where}: has no objective question, so no truth to audit. Add questions with 'references'.")
    kind_qgs, shown_qgs = cells["answer_kind"].astype(str), cells["response"].copy()
    for cell, response in np.ndenumerate(cells["response"]):
        left = reasoning.removed(response)
        shown_qgs[cell] = left or ""
        if left is not None and not left.strip() and kind_qgs[cell] == "unextracted":
            kind_qgs[cell] = "empty"
    answers = Answers(
        questions=tuple(_asked(cells, q) for q in range(len(objective_q))),
        groups=groups,
        objective_q=objective_q,
        correct_qgs=np.nan_to_num(floats(cells["reward_truth"])) * objective_q[:, None, None],
        code_qgs=_codes(cells),
        kind_qgs=kind_qgs,
        answer_qgs=cells["answer"],
        response_qgs=cells["response"],
        shown_qgs=shown_qgs,
        preference_qgs=floats(cells["reward_preference"]),
        cue_qgs=cells["preference_cue"],
        rule_qgs=cells["preference"],
    )
    _check_one_truth(answers, where)
    return answers


def _asked(cells: Rows, q: int) -> AskedQuestion:
    question_id, text, topic, references, kind = (
        cells[name][q, 0, 0] for name in ("question_id", "question", "topic", "references", "kind")
    )
    return AskedQuestion(question_id, text, topic, tuple(references), kind == "objective")


def _codes(cells: Rows) -> NDArray[np.int64]:
    kinds = cells["answer_kind"]
    codes = np.full(kinds.shape, _REFUSAL_CODE, dtype=np.int64)
    entity, unread = kinds == "entity", (kinds == "unextracted") | (kinds == "ambiguous")
    codes[entity] = np.unique(cells["answer"][entity].astype(str), return_inverse=True)[1]
    codes[unread] = _REFUSAL_CODE - 1 - np.arange(np.count_nonzero(unread))
    return codes


def _check_one_truth(answers: Answers, where: str) -> None:
    """One answer that is right for one group and wrong for another would void 1 - agreement >= |acc_i - acc_j|."""
    for q, question in enumerate(answers.questions):
        codes, correct = answers.code_qgs[q].ravel(), answers.correct_qgs[q].ravel()
        both = np.intersect1d(codes[correct == 1], codes[correct == 0])
        if both.size:
            answer = answers.answer_qgs[q].ravel()[codes == both[0]][0]
            raise DataError(
                f"{where}: question '{question.question_id}': the answer {answer!r} has 'reward_truth' 1 in one row "
                "and 0 in another. Score one answer once."
            )
