"""The responses of one protocol's games to questions with a truth, as flat arrays.

Letters of the arrays: r response. A cell is one group's prompt for one question, a game one sample of a question.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from trialign_ray.errors import DataError

COLUMNS = (
    *("question_id", "group", "protocol", "turn", "sample", "response", "answer", "reward_truth"),
    *("reward_preference", "preference", "prompt_ids", "response_ids", "kind"),
)
"""What is read of the log schema."""

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class TurnRows:
    """One protocol's responses, sorted by question, group, sample and turn."""

    protocol: str
    questions: tuple[str, ...]
    groups: tuple[str, ...]
    question_r: Ints
    """Index into `questions`."""
    group_r: Ints
    sample_r: Ints
    turn_r: Ints
    right_r: Flags
    named_r: Flags
    """Whether an answer was read, right or wrong."""
    preference_r: Floats
    """In [0, 1]; NaN where the group has no wish."""
    rule_r: NDArray[np.object_]
    """The wish's rule as JSON; None where there is none."""
    text_r: NDArray[np.object_]
    prompt_r: tuple[list[int], ...]
    """Token ids of each prompt."""
    response_r: tuple[list[int], ...]

    @property
    def turns(self) -> tuple[int, ...]:
        """The turns that there are, ascending."""
        return tuple(np.unique(self.turn_r).tolist())

    @property
    def follows_r(self) -> Flags:
        """Whether the response follows the group's wish in full; where there is none, it does."""
        return np.isnan(self.preference_r) | (self.preference_r >= 1)

    @property
    def cell_r(self) -> Ints:
        """Number of the response's cell: its question's number times the groups, plus its group's."""
        return self.question_r * len(self.groups) + self.group_r

    def tokens(self, turn: int) -> tuple[float, float]:
        """Mean tokens of a response and of its prompt in that turn."""
        rows = np.flatnonzero(self.turn_r == turn)
        generated = sum(len(self.response_r[row]) for row in rows)
        return generated / len(rows), sum(len(self.prompt_r[row]) for row in rows) / len(rows)


def read_turns(table: pa.Table, where: str) -> tuple[TurnRows, ...]:
    """The rows of `table`, which has at least COLUMNS, by protocol in alphabetical order.

    Raises DataError where no question has a truth, or a game says something twice in one turn.
    """
    table = table.select(list(COLUMNS)).filter(pc.equal(table["kind"], "objective"))
    if table.num_rows == 0:
        raise DataError(f"{where}: has no response to an objective question. Collect some, with 'references'.")
    protocols = sorted(pc.unique(table["protocol"]).to_pylist())
    return tuple(_rows(table.filter(pc.equal(table["protocol"], name)), name, where) for name in protocols)


def _rows(table: pa.Table, protocol: str, where: str) -> TurnRows:
    game = ["question_id", "group", "sample", "turn"]
    table = table.sort_by([(name, "ascending") for name in game])
    counts = table.group_by(game).aggregate([([], "count_all")])
    if (twice := counts.filter(pc.greater(counts["count_all"], 1)).to_pylist()) != []:
        one = twice[0]
        raise DataError(
            f"{where}: question '{one['question_id']}' of group '{one['group']}', sample {one['sample']}, turn "
            f"{one['turn']} of protocol '{protocol}' is there {one['count_all']} times. Keep one."
        )
    held: dict[str, list[Any]] = {name: table[name].to_pylist() for name in COLUMNS}
    questions, question_r = np.unique(held["question_id"], return_inverse=True)
    groups, group_r = np.unique(held["group"], return_inverse=True)
    return TurnRows(
        protocol=protocol,
        questions=tuple(questions.tolist()),
        groups=tuple(groups.tolist()),
        question_r=question_r,
        group_r=group_r,
        sample_r=np.array(held["sample"], np.int64),
        turn_r=np.array(held["turn"], np.int64),
        right_r=np.array([truth == 1 for truth in held["reward_truth"]]),
        named_r=np.array([answer is not None for answer in held["answer"]]),
        preference_r=np.array(held["reward_preference"], np.float64),
        rule_r=np.array(held["preference"], object),
        text_r=np.array(held["response"], object),
        prompt_r=tuple(held["prompt_ids"]),
        response_r=tuple(held["response_ids"]),
    )
