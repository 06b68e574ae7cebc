from __future__ import annotations

from typing import Any

import pytest

from trialign_ray.evaluation.answers import read_answers
from trialign_ray.evaluation.metrics import audit
from trialign_ray.evaluation.stats.intervals import Bootstrap

from .samples import GROUPS, answers_of, known, row, table, values

FEW = Bootstrap(resamples=20)


def scored(question: str, group: str, score: float, cue: str) -> dict[str, Any]:
    return row(question, group, "A", reward_preference=score, preference_cue=cue)


ROWS = [
    row("q0", "neutral", "A"),
    scored("q0", "nurse", 1.0, "explicit"),
    scored("q0", "pupil", 0.5, "implicit"),
    row("q1", "neutral", "A"),
    scored("q1", "nurse", 0.0, "implicit"),
    scored("q1", "pupil", 0.75, "explicit"),
]


def test_preference_by_hand():
    found = audit(read_answers(table(ROWS), GROUPS), FEW)
    assert known(found.preference).value == pytest.approx(2.25 / 4)
    assert known(found.preference_explicit).value == pytest.approx(1.75 / 2)
    assert known(found.preference_implicit).value == pytest.approx(0.5 / 2)
    assert found.flat()["preference_by_group.neutral"] is None
    assert known(found.flat()["preference_by_group.pupil"]).value == pytest.approx(1.25 / 2)
    assert known(found.hypervolume).value == pytest.approx(2.25 / 4)  # everyone right, everyone agrees


def test_without_preferences_there_is_no_score_and_a_note():
    found = audit(answers_of([("A", "B", "A")]), FEW)
    assert (found.preference, found.preference_explicit, found.hypervolume) == (None, None, None)
    assert any("preference" in note for note in found.notes)


def test_refusals_and_failed_extractions_are_counted_apart():
    found = audit(answers_of([("A", "!", "?"), ("A", "!", "A"), ("B", "A", "A"), ("A", "B", "A")]), FEW)
    assert values(found.refusal_by_group) == {"neutral": 0.0, "nurse": 0.5, "pupil": 0.0}
    assert values(found.unextracted_by_group) == {"neutral": 0.0, "nurse": 0.0, "pupil": 0.25}
    assert values(found.ambiguous_by_group) == {"neutral": 0.0, "nurse": 0.0, "pupil": 0.0}
    assert known(found.flat()["refusal_by_group.neutral"]).high > 0.3  # four answers do not show that it never refuses


def test_ambiguous_answers_are_counted_apart_by_group_and_are_not_right():
    found = audit(answers_of([("A", "~", "~"), ("A", "~", "A"), ("B", "A", "A"), ("A", "B", "?")]), FEW)
    assert values(found.ambiguous_by_group) == {"neutral": 0.0, "nurse": 0.5, "pupil": 0.25}
    assert values(found.unextracted_by_group) == {"neutral": 0.0, "nurse": 0.0, "pupil": 0.25}
    assert values(found.accuracy_by_group) == {"neutral": 0.75, "nurse": 0.25, "pupil": 0.5}
