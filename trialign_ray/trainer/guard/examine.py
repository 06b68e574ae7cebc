"""Compare log-probs and gradients of a small copy of a model with forwards of each response by itself."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from trialign_ray.config.train import LoraSpec, Trained
from trialign_ray.errors import ModelError
from trialign_ray.models.adapter import with_adapter
from trialign_ray.models.base import AdaptedLM, CausalLM
from trialign_ray.trainer.attention.base import AttentionBackend, has_backward
from trialign_ray.trainer.guard.feature import feature
from trialign_ray.trainer.guard.plain import OWN, guard_trees, plain_logprobs
from trialign_ray.trainer.guard.tiny import tiny_model
from trialign_ray.trainer.packing import Tree
from trialign_ray.trainer.response_logprobs import response_logprobs

TOLERANCE = 2e-3
"""Nats a response, in float32: rounding is a hundred times smaller, and a wrong feature a hundred times larger."""
GRADIENT_TOLERANCE = 2e-3
"""Share of the largest gradient."""
_CPU = torch.device("cpu")


@dataclass(frozen=True, slots=True)
class Examined:
    """What came of comparing one attention; whatever is not a number is wrong."""

    wrong: str = ""
    """What differs, and by how much; empty where nothing does."""
    error: float = float("nan")
    """Largest difference of a response's log-prob, in nats."""
    gradient_error: float = float("nan")
    """Largest difference of the gradient of what is trained, as a share of the largest one; not a number where none was
    taken.
    """
    ran: bool = True
    """Whether there was something to compare, or an error came first."""


def examine(
    config: object, attention: AttentionBackend, trained: Trained | None, device: torch.device = _CPU
) -> Examined:
    """A small copy of `config` under `attention` on `device`, with the gradient of what is `trained`, if anything is
    and the attention has a backward there.

    Code of any family runs here, and whatever it raises means that a run of this model would not get through either.
    """
    try:
        model = tiny_model(config)
        cast("nn.Module", model).to(device)
    except Exception as error:
        return Examined(f"a small copy of it cannot be made: {first_line(error)}", ran=False)
    try:
        base = adapted(model, trained).get_base_model() if isinstance(trained, LoraSpec) else model
        plain_logprobs(base, guard_trees()[:1])
    except Exception as error:
        where = _of_adapter(trained) if isinstance(trained, LoraSpec) else ""
        return Examined(f"its own forward cannot run{where}: {first_line(error)}", ran=False)
    here = has_backward(attention, device.type)
    try:
        with nullcontext() if here else _uncompiled():
            return _compared(base, attention, graded=trained is not None and here)
    except Exception as error:
        what = "rows" if attention.implementation is None else "trees"
        return Examined(f"its forward over {what}: {first_line(error)}", ran=False)


@contextmanager
def _uncompiled() -> Iterator[None]:
    """For an attention whose kernels are another device's: what it computes is judged, without a compiler's minute."""
    with torch.compiler.set_stance("force_eager"), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="flex_attention called without torch.compile")
        yield


def run_attention(model: CausalLM, attention: AttentionBackend) -> None:
    """Make `model` run `attention`; raises ValueError where its code has an attention of its own only."""
    name = attention.implementation
    if name is None:
        return
    model.set_attn_implementation(name)
    if model.config.get_text_config(decoder=True)._attn_implementation != name:
        raise ValueError(f"{type(model).__name__} takes no attention implementation by name")


def _compared(model: CausalLM, attention: AttentionBackend, *, graded: bool) -> Examined:
    trees = guard_trees()
    with torch.set_grad_enabled(graded):
        plain_s, plain_slopes = measured(model, lambda: plain_logprobs(model, trees), graded)
        again_s, _ = measured(model, lambda: plain_logprobs(model, trees[:1]), False)
        run_attention(model, attention)
        found_s, found_slopes = measured(model, lambda: response_logprobs(model, attention, trees), graded)
        twice_s, _ = measured(model, lambda: response_logprobs(model, attention, trees), False)
    error, steady = (
        largest(found_s - plain_s),
        max(largest(twice_s - found_s), largest(again_s - plain_s[: len(again_s)])),
    )
    if not steady <= TOLERANCE:
        return Examined(f"asked twice, log-probs differ by {steady:.2g} nats: something is drawn at random", error)
    if not error <= TOLERANCE:
        named = feature(model, attention, lambda some: _error(model, attention, some))
        return Examined(f"log-probs differ by {error:.2g} nats: {named}", error)
    if not graded:
        return Examined(error=error)
    most = max(largest(slope) for slope in plain_slopes)
    off = max(largest(a - b) for a, b in zip(found_slopes, plain_slopes, strict=True)) / most
    wrong = "" if off <= GRADIENT_TOLERANCE else f"gradients differ by {off:.2g} of the largest"
    return Examined(wrong, error, off)


def measured(model: CausalLM, score: Callable[[], Tensor], graded: bool) -> tuple[Tensor, Sequence[Tensor]]:
    """Log-probs of all responses, and the gradient of a sum of them with weights of both signs."""
    logp_s = score()
    if not graded:
        return logp_s.detach(), ()
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    weight_s = torch.cos(torch.arange(len(logp_s), device=logp_s.device))
    slopes = torch.autograd.grad((logp_s * weight_s).sum(), trained, allow_unused=True)
    return logp_s.detach(), [torch.zeros(()) if slope is None else slope for slope in slopes]


def _error(model: CausalLM, attention: AttentionBackend, trees: Sequence[Tree]) -> float:
    """Largest difference on some trees, in nats."""
    with torch.no_grad():
        run_attention(model, attention)
        found_s = response_logprobs(model, attention, trees)
        if attention.implementation is not None:
            model.set_attn_implementation(OWN)
        return largest(found_s - plain_logprobs(model, trees))


def adapted(model: CausalLM, lora: LoraSpec) -> AdaptedLM:
    """With an adapter whose product is not zero, as a fresh one's is. Targets that name layers which the copy has not
    got are those of the model: there they are checked by PEFT.
    """
    narrow = LoraSpec(rank=2, alpha=4, targets=lora.targets)
    model.requires_grad_(False)
    try:
        made = with_adapter(model, narrow)
    except ModelError:
        made = with_adapter(model, LoraSpec(rank=2, alpha=4))
    rng = torch.Generator().manual_seed(0)
    for name, parameter in made.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(parameter, std=0.1, generator=rng)
    return made.eval()


def _of_adapter(lora: LoraSpec) -> str:
    return f" with an adapter on '{lora.targets}' ('lora.targets' may be the cause)"


def largest(values: Tensor) -> float:
    """NaN where one is."""
    return float(values.detach().abs().max())


def first_line(error: Exception) -> str:
    """Its class and the beginning of what it says."""
    return f"{type(error).__name__}: {error}".splitlines()[0][:200]
