"""Recomputing that would give another gradient, or none, is refused before a run starts."""

from __future__ import annotations

from typing import Literal

import pytest
from transformers import AutoConfig

from trialign_ray.config.train import LearnerSpec, LoraSpec
from trialign_ray.errors import ModelError
from trialign_ray.trainer.guard import recomputed
from trialign_ray.trainer.guard.examine import GRADIENT_TOLERANCE
from trialign_ray.trainer.guard.families import SHAPES
from trialign_ray.trainer.guard.recomputed import refuse_wrong_recompute

QUICK = ("Llama 3.x", "Gemma 2", "DeepSeek V3")
MUTATES, REFUSED = "gpt-oss", "Llama with dynamic NTK"
EXACT = [name for name in SHAPES if name not in (MUTATES, REFUSED)]


def asked(name: str, again: Literal[True, "selective"]) -> None:
    kind, changes = SHAPES.get(name, (name, {}))
    refuse_wrong_recompute(
        AutoConfig.for_model(kind, **changes), LearnerSpec(activation_checkpointing=again), LoraSpec()
    )


@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.long) for name in EXACT]
)
def test_published_shapes_compute_their_layers_again(name: str) -> None:
    kind, changes = SHAPES[name]
    learner = LearnerSpec(activation_checkpointing="selective")
    assert recomputed._difference(AutoConfig.for_model(kind, **changes), learner, LoraSpec()) <= GRADIENT_TOLERANCE


def test_all_weights_have_the_same_gradient() -> None:
    kind, changes = SHAPES["Qwen3"]
    learner = LearnerSpec(activation_checkpointing="selective")
    assert recomputed._difference(AutoConfig.for_model(kind, **changes), learner, "full") <= GRADIENT_TOLERANCE


def test_a_layer_that_writes_into_what_is_kept_is_refused() -> None:
    with pytest.raises(ModelError, match=r"selective' cannot compute.*mutated.* Set it to true, or leave it out\."):
        asked(MUTATES, "selective")
    asked(MUTATES, True)


def test_a_model_without_such_layers_is_refused() -> None:
    with pytest.raises(ModelError, match="'gpt_neox_japanese' have no layers that can be computed again"):
        asked("gpt_neox_japanese", True)


def test_another_gradient_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recomputed, "_difference", lambda *_: float("nan"))
    with pytest.raises(ModelError, match="gradients differ by nan"):
        asked("Llama 3.x", "selective")


def test_nothing_is_asked_of_a_run_that_recomputes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[object] = []
    monkeypatch.setattr(recomputed, "_difference", lambda *given: seen.append(given))
    refuse_wrong_recompute(object(), LearnerSpec(), LoraSpec())
    assert seen == []
