"""Whether the engine of this process samples from what a model's forward computes, found out on a small copy.

A response is decoded from a cache, behind padding where a shorter prompt stands beside a longer one, and in rows that
move as others end. Code of a family may be right in one forward and wrong in any of these, without an error.
"""

from __future__ import annotations

import json
import logging
import warnings
from typing import Any

import torch

from trialign_ray.config.base import Strict
from trialign_ray.config.generators import TransformersSpec
from trialign_ray.errors import ModelError
from trialign_ray.inference.base import Sampling
from trialign_ray.inference.transformers import TransformersGenerator
from trialign_ray.models.base import CausalLM
from trialign_ray.trainer.guard.examine import first_line
from trialign_ray.trainer.guard.tiny import VOCABULARY, tiny_model

TOLERANCE = 2e-3
"""Nats a token, in float32: rounding is ten times smaller at most, and a wrong feature ten times larger at least."""
_TOKENS, _SAMPLES = 8, 2
_PROMPTS = [[11, 12, 13], [21, 34, 45, 56, 67, 78, 89, 91, 12, 23, 34, 46], [31, 72, 13, 84, 55, 36, 97]]
"""Longer than the copy's windows, and with the responses shorter than its original lengths."""
_STOP = range(VOCABULARY - 16, VOCABULARY)
"""Ends one response in eight at each token, so that rows leave the batch."""

_JUDGED: dict[tuple[str, int, bool], str | None] = {}
"""By what was asked, so that a process examines a model once."""


def refuse_wrong_generation(config: Any, spec: Strict, samples: int) -> None:
    """Raise ModelError where `wrong_generation` finds something."""
    if wrong := wrong_generation(config, spec, samples):
        raise ModelError(f"models of type '{config.model_type}' would get wrong responses: {wrong}")


def wrong_generation(config: Any, spec: Strict, samples: int) -> str | None:
    """Why responses of models of `config` would not be the model's own, and what to do; empty where they are.

    None where that is not judged: no small copy can be made, or the engine of `spec` is another than `transformers`,
    with code of its own. config: a `transformers.PreTrainedConfig`. samples: of each prompt, which with `rows` decides
    whether prompts share a batch. Takes a second.
    """
    if not isinstance(spec, TransformersSpec):
        return None
    asked = (json.dumps(config.to_dict(), sort_keys=True, default=str), samples, spec.rows // samples < 2)
    if asked not in _JUDGED:
        _JUDGED[asked] = _judged(config, samples, apart=asked[-1])
    return _JUDGED[asked]


def _judged(config: Any, samples: int, *, apart: bool) -> str | None:
    try:
        model = tiny_model(config)
    except Exception as error:
        logging.getLogger(__name__).warning("generation not judged: no small copy of the model: %s", first_line(error))
        return None
    return _wrong(_as_loaded(model), samples, apart=apart)


def _as_loaded(model: CausalLM) -> CausalLM:
    """With the attention under which a model is loaded to answer."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            model.set_attn_implementation("sdpa")
        except ValueError:
            model.set_attn_implementation("eager")
    return model


def _wrong(model: CausalLM, samples: int, *, apart: bool) -> str:
    """What is, and what to do about it; empty where nothing is. apart: each prompt is answered by itself."""
    try:
        alone = max(_error(model, [prompt]) for prompt in _PROMPTS)
        beside = alone if apart else _error(model, _PROMPTS)
    except Exception as error:
        why = first_line(error).rstrip(".")
        return f"its code cannot generate from a cache: {why}. Choose another model or 'generator'."
    if not alone <= TOLERANCE:
        return (
            f"decoded from its cache, log-probs differ by {alone:.2g} nats from those of its forward. Choose another "
            "model or 'generator'."
        )
    if not beside <= TOLERANCE:
        return (
            f"it counts places in a row, so that padding moves the shorter prompts of a batch (log-probs differ by "
            f"{beside:.2g} nats). Set generator.rows to {samples}, so that each prompt is answered by itself."
        )
    return ""


@torch.inference_mode()
def _error(model: CausalLM, prompts: list[list[int]]) -> float:
    """Largest difference of a token's log-prob, in nats, from that of one forward of prompt and response."""
    temperature = _temperature(model)
    sampling = Sampling(_TOKENS, temperature, _SAMPLES)
    seeds = [[2 * row, 2 * row + 1] for row in range(len(prompts))]
    found = TransformersGenerator(model).generate(prompts, seeds, sampling, list(_STOP))
    errors = []
    for prompt, row in zip(prompts, found, strict=True):
        for said in row:
            ids_t = torch.tensor(said.ids)
            logits_tv = _logits(model, [*prompt, *said.ids])[len(prompt) - 1 : -1]
            logp_t = (logits_tv / temperature).log_softmax(-1).gather(1, ids_t[:, None])[:, 0]
            errors.append((logp_t - torch.tensor(said.logprobs)).abs().max())
    return float(torch.stack(errors).max())  # NaN where one is


def _temperature(model: CausalLM) -> float:
    """At which the copy is unsure of the next token: one that is sure says the same whatever it has seen."""
    return max(1.0, float(_logits(model, _PROMPTS[0]).std()))


def _logits(model: CausalLM, ids: list[int]) -> torch.Tensor:
    return model(input_ids=torch.tensor([ids]), use_cache=False).logits[0].float()
