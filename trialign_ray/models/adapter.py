"""LoRA adapters on a causal LM, as a specification asks for them."""

from __future__ import annotations

import re
from typing import cast

from peft import LoraConfig, get_peft_model
from torch import nn
from transformers import PreTrainedModel

from trialign_ray.config.train import LoraSpec
from trialign_ray.errors import ModelError
from trialign_ray.models.base import AdaptedLM, CausalLM


def lora_config(spec: LoraSpec, model: nn.Module) -> LoraConfig:
    """PEFT's configuration of the adapter on `model`."""
    every = spec.targets == "all-linear"
    return LoraConfig(
        r=spec.rank,
        lora_alpha=spec.alpha,  # type: ignore[arg-type]  # PEFT counts a fraction as it is, whatever its annotation says
        target_modules=spec.targets if isinstance(spec.targets, str) else list(spec.targets),
        exclude_modules=(_not_plain(model) or None) if every else None,
        task_type="CAUSAL_LM",
    )


def _not_plain(model: nn.Module) -> list[str]:
    """Linear layers of `model` that run otherwise than as one, which 'all-linear' leaves out.

    Routers that give scores beside logits (Llama 4, Phi-3.5-MoE) and grouped projections (DeepSeek V4). Of Mamba
    layers, which alone have a `D`, the projection of time steps, whose weight is read past an adapter, and the output
    projection where PEFT takes no adapter on it.
    """
    modules = dict(model.named_modules())
    kind = getattr(getattr(model, "config", None), "model_type", None)
    past = ("dt_proj", "out_proj") if kind in _PEFT_REFUSES_OUT_PROJ else ("dt_proj",)
    linear = {path: each for path, each in modules.items() if isinstance(each, nn.Linear)}
    mamba = {path for path in linear if hasattr(modules[path.rpartition(".")[0]], "D")}
    return [
        path
        for path, each in linear.items()
        if _OTHER_WAYS.search(type(each).__name__) or (path in mamba and path.endswith(past))
    ]


_OTHER_WAYS = re.compile("Router|Grouped")
"""In the names of linear layers' classes."""
_PEFT_REFUSES_OUT_PROJ = frozenset({"falcon_h1", "mamba", "mamba2", "falcon_mamba", "nemotron_h"})


def with_adapter(model: CausalLM, spec: LoraSpec, name: str = "default") -> AdaptedLM:
    """`model` with a fresh adapter `name` on it, in the precision of its weights: the optimizer has float32 copies.

    Raises ModelError, with `model` as it was, where the targets are not there, or are the output embedding.
    """
    head, named = model.get_output_embeddings(), () if isinstance(spec.targets, str) else spec.targets
    heads = [path for path, each in cast("nn.Module", model).named_modules() if each is head]
    if any(f".{path}".endswith(f".{target}") for path in heads for target in named):
        raise ModelError("field 'lora.targets': the output embedding cannot be adapted; it is frozen in the log-probs.")
    try:
        config = lora_config(spec, cast("nn.Module", model))
        made = get_peft_model(cast("PreTrainedModel", model), config, name, autocast_adapter_dtype=False)
    except ValueError as error:
        raise ModelError(f"field 'lora.targets': {error}") from None
    return cast("AdaptedLM", made)
