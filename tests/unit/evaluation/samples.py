"""Tables of answers made by hand: a letter is an answer, upper case is right."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from hypothesis import strategies as st

from trialign_ray.data.schema import SCHEMA
from trialign_ray.evaluation.answers import Answers, read_answers
from trialign_ray.evaluation.figures import ByGroup, Figure
from trialign_ray.evaluation.rows import COLUMNS

GROUPS = ("neutral", "nurse", "pupil")
FORMAT = pa.schema([SCHEMA.field(name) for name in COLUMNS])
KINDS = {"?": "unextracted", "!": "refusal", "~": "ambiguous"}


def row(question: str, group: str, said: str, sample: int = 0, /, **changes: Any) -> dict[str, Any]:
    """One answer. `said` is 'A' (right), another letter (wrong), '!' (a refusal), '~' (two answers) or '?' (none)."""
    return {
        "question_id": question,
        "question": f"What is {question}?",
        "group": group,
        "sample": sample,
        "response": f"It is {said}.",
        "answer": None if said in KINDS else said,
        "answer_kind": KINDS.get(said, "entity"),
        "references": ["A"],
        "reward_truth": float(said == "A"),
        "reward_preference": None,
        "preference": None,
        "preference_cue": None,
        "kind": "objective",
        "topic": "letters",
    } | changes


def known(figure: Figure | None) -> Figure:
    """A figure that the answers must have given."""
    assert figure is not None
    return figure


def values(by_group: ByGroup | None) -> dict[str, float]:
    """Values of the figures that every group must have."""
    assert by_group is not None
    return {group: known(figure).value for group, figure in by_group.items()}


def table(rows: Sequence[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist(list(rows), schema=FORMAT)


def rows_of(grid: Sequence[Sequence[str]], groups: Sequence[str] = GROUPS) -> list[dict[str, Any]]:
    """Rows of a grid [question][group]; a cell holds one letter for each sample."""
    return [
        row(f"q{q:03}", group, said, sample)
        for q, cells in enumerate(grid)
        for group, cell in zip(groups, cells, strict=True)
        for sample, said in enumerate(cell)
    ]


def answers_of(grid: Sequence[Sequence[str]], groups: Sequence[str] = GROUPS) -> Answers:
    return read_answers(table(rows_of(grid, groups)), groups)


def grids(samples: int = 1, groups: int = 3, letters: str = "AB!?") -> st.SearchStrategy[list[tuple[str, ...]]]:
    """Grids of one to eight questions."""
    cell = st.text(alphabet=letters, min_size=samples, max_size=samples)
    return st.lists(st.tuples(*[cell] * groups), min_size=1, max_size=8)


def random_grid(rng: np.random.Generator, questions: int, accuracies: Sequence[float]) -> list[tuple[str, ...]]:
    """Each group right with its own chance, wrong with one of two letters."""
    return [
        tuple("A" if rng.random() < accuracy else str(rng.choice(["B", "C"])) for accuracy in accuracies)
        for _ in range(questions)
    ]
