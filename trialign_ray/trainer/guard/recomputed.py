"""Compare gradients of a small copy of a model with and without recomputing, before a run that asks for it starts."""

from __future__ import annotations

from typing import Any

from trialign_ray.config.train import LearnerSpec, LoraSpec, Trained
from trialign_ray.errors import ModelError
from trialign_ray.models.base import CausalLM
from trialign_ray.trainer.guard.examine import (
    GRADIENT_TOLERANCE,
    adapted,
    first_line,
    largest,
    measured,
    run_attention,
)
from trialign_ray.trainer.guard.plain import guard_trees
from trialign_ray.trainer.guard.tiny import tiny_model
from trialign_ray.trainer.guard.verdict import exact_attention
from trialign_ray.trainer.recompute import checkpoint_layers
from trialign_ray.trainer.response_logprobs import response_logprobs


def refuse_wrong_recompute(config: Any, learner: LearnerSpec, trained: Trained) -> None:
    """Raises ModelError where layers of a model of `config` cannot be computed again, or to another gradient.

    A layer may write into what is kept of it, or keep a state; `learner.attention` has to be exact. Takes seconds.
    """
    if learner.activation_checkpointing is False:
        return
    try:
        off = _difference(config, learner, trained)
    except ModelError:
        raise
    except Exception as error:  # code of any family runs here
        raise ModelError(_told(learner, first_line(error))) from error
    if not off <= GRADIENT_TOLERANCE:
        raise ModelError(_told(learner, f"gradients differ by {off:.2g} of the largest"))


def _difference(config: Any, learner: LearnerSpec, trained: Trained) -> float:
    """Of gradients, as a share of the largest one."""
    model = tiny_model(config)
    base = adapted(model, trained).get_base_model() if isinstance(trained, LoraSpec) else model
    attention = exact_attention(config, learner.attention, trained)
    run_attention(base, attention)

    def slopes(of: CausalLM) -> Any:
        return measured(of, lambda: response_logprobs(of, attention, guard_trees()), True)[1]

    kept = slopes(base)
    checkpoint_layers(base, learner)
    again = slopes(base)
    return max(largest(a - b) for a, b in zip(kept, again, strict=True)) / max(largest(a) for a in kept)


def _told(learner: LearnerSpec, why: str) -> str:
    way = learner.activation_checkpointing
    other = "Leave it out" if way is True else "Set it to true, or leave it out"
    said = str(way).lower()
    return f"'learner.activation_checkpointing: {said}' cannot compute this model's layers again: {why}. {other}."
