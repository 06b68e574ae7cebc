"""What an algorithm itself settles of the candidates stands, and cannot be set otherwise."""

from __future__ import annotations

from typing import Any

import pytest

from trialign_ray.config.base import parse
from trialign_ray.config.derived import derive
from trialign_ray.config.train import TrainSpec
from trialign_ray.errors import SpecError

from .samples import TRAIN


def spec(algorithm: dict[str, Any], **candidates: Any) -> TrainSpec:
    return parse(TrainSpec, TRAIN | {"algorithm": algorithm, "candidates": candidates}, "spec.yaml")


@pytest.mark.parametrize(
    ("name", "settled"), [("rft", {"borrowed": 0}), ("bct", {"labels": "neutral"}), ("maca", {"labels": "majority"})]
)
def test_what_the_algorithm_settles_competes_and_the_rest_is_as_given(name: str, settled: dict[str, Any]) -> None:
    found = spec({"name": name}, own=5)
    assert found.competing() == found.candidates.model_copy(update=settled)
    assert spec({"name": name}, **settled).competing() == spec({"name": name}).competing()


def test_other_algorithms_take_the_candidates_as_they_are_given() -> None:
    found = spec({"name": "sft"}, borrowed=7, labels="majority", later_turns=False)
    assert found.competing() == found.candidates


@pytest.mark.parametrize(
    ("name", "candidates", "message"),
    [
        ("rft", {"borrowed": 3}, r"'candidates\.borrowed' is 3, but algorithm 'rft' settles it as 0\. Leave it out"),
        ("bct", {"labels": "truth"}, "is 'truth', but algorithm 'bct' settles it as 'neutral'"),
        ("maca", {"labels": "neutral"}, "settles it as 'majority'"),
        ("sft", {"labels": "majority", "answers": 8}, r"'candidates\.answers' are made from the truth"),
        ("bct", {"answers": 8}, r"'candidates\.answers' are made from the truth"),
    ],
)
def test_what_contradicts_it_is_refused(name: str, candidates: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        spec({"name": name}, **candidates)


def test_the_plan_counts_what_competes() -> None:
    most = {name: derive(spec({"name": name}, own=6), 8, 3).most_responses_per_step for name in ("rft", "sft")}
    assert most == {"rft": 4 * 3 * 6, "sft": 4 * 3 * 9}
