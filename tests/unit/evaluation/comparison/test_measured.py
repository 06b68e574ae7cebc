"""An arm's figures under weights of the questions, by hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from trialign_ray.config.compare import LogChanges
from trialign_ray.data.schema import SCHEMA
from trialign_ray.evaluation.comparison.measured import MeasuredArm, by_subject, measured, unseen, vote_gain
from trialign_ray.evaluation.rows import COLUMNS

GROUPS = ("neutral", "farmer", "nurse")
Asked = Sequence[Sequence[str | None]]
FIELDS = pa.schema([*(SCHEMA.field(name) for name in COLUMNS), pa.field("reading", pa.string())])


def said(
    reading: str, question: int, group: str, answer: str | None, preference: float | None = None
) -> dict[str, Any]:
    return {
        **{"question_id": f"q{question}", "question": "?", "group": group, "sample": 0, "response": answer or "hm"},
        **{"answer": answer, "answer_kind": "unextracted" if answer is None else "entity", "references": ["a"]},
        **{"reward_truth": float(answer == "a"), "reward_preference": preference, "preference": None},
        **{"preference_cue": None, "kind": "objective", "topic": f"t{question}", "reading": reading},
    }


def table(free: Asked, closed: Asked | None = None) -> pa.Table:
    """Answers of all groups, question by question."""
    rows = [
        said(reading, q, group, answer, 0.5 if group != "neutral" else None)
        for reading, asked in (("free", free), ("closed", closed or free))
        for q, answers in enumerate(asked)
        for group, answer in zip(GROUPS, answers, strict=True)
    ]
    return pa.Table.from_pylist(rows, schema=FIELDS)


def test_a_subject_is_what_an_id_ends_with():
    assert by_subject(("capital-fra", "capital-deu", "currency-fra", "moon")) == (0, 1, 0, 2)


def values(found: MeasuredArm, weights: tuple[float, ...] = (1, 1)) -> dict[str, float]:
    return {name: float(each(np.array([weights]))[0]) for name, each in found.statistics.items()}


def test_every_figure_by_hand():
    found = values(measured(table([["a", "a", "a"], ["a", "b", None]])))
    assert {name: found[f"free.{name}"] for name in ("accuracy", "everyone", "someone", "worst_group", "neutral")} == {
        **{"accuracy": pytest.approx(4 / 6), "everyone": 0.5, "someone": 1.0, "worst_group": 0.5, "neutral": 1.0}
    }
    assert found["free.named"] == pytest.approx(5 / 6)
    assert found["free.right_given_named"] == pytest.approx(4 / 5)
    assert found["free.contradiction"] == pytest.approx(1 / 4)
    assert found["free.preference"] == 0.5
    assert found["free.shared_falsehood"] == 0


def test_a_falsehood_is_shared_by_pairs_of_groups_of_all_pairs():
    found = values(measured(table([["b", "b", "a"], ["b", "c", None]])))
    assert found["free.shared_falsehood"] == pytest.approx(1 / 6)


def test_weights_count_questions_and_readings_stand_apart():
    both = measured(table([["a", "a", "a"], ["b", "b", "b"]], closed=[["b", "b", "b"], ["a", "a", "a"]]))
    assert both.questions == {"closed": 2, "free": 2}
    found = values(both, (3, 1))
    assert (found["free.everyone"], found["closed.everyone"]) == (0.75, 0.25)


def test_what_training_left_out_is_measured_alone():
    whole = table([["a", "a", "b"], ["a", "b", "b"]])
    groups = measured(unseen(whole, LogChanges(without_groups=("farmer", "nurse"))))
    assert groups.answers["free"].groups == ("farmer", "nurse")
    assert values(groups)["free.accuracy"] == 0.25
    topics = measured(unseen(whole, LogChanges(without_topics=("t0",))))
    assert topics.questions["free"] == 1


def test_the_share_of_the_votes_gain():
    base, best = table([["a", "b", "b"], ["b", "b", "b"]]), table([["a", "a", "a"], ["a", "a", "a"]])
    arm = table([["a", "a", "a"], ["b", "b", "b"]])
    gain = vote_gain(*map(measured, (arm, base, best)))
    assert gain(np.ones((1, 2)))[0] == 0.5
    nothing = vote_gain(*map(measured, (arm, base, base)))
    assert np.isnan(nothing(np.ones((1, 2)))[0])
