"""LoRA adapters on a causal LM, as a specification asks for them."""

from __future__ import annotations

from typing import cast

from peft import LoraConfig, get_peft_model
from torch import nn
from transformers import PreTrainedModel

from trialign_ray.config.train import LoraSpec
from trialign_ray.errors import ModelError
from trialign_ray.models.base import AdaptedLM, CausalLM


def lora_config(spec: LoraSpec) -> LoraConfig:
    """PEFT's configuration of the adapter."""
    targets = spec.targets if isinstance(spec.targets, str) else list(spec.targets)
    # PEFT counts a fractional alpha as it is, whatever its annotation says.
    return LoraConfig(r=spec.rank, lora_alpha=spec.alpha, target_modules=targets, task_type="CAUSAL_LM")  # type: ignore[arg-type]


def with_adapter(model: CausalLM, spec: LoraSpec, name: str = "default") -> AdaptedLM:
    """`model` with a fresh adapter `name` on it, in the precision of its weights: the optimizer has float32 copies.

    Raises ModelError, with `model` as it was, where the targets are not there, or are the output embedding.
    """
    head, named = model.get_output_embeddings(), () if isinstance(spec.targets, str) else spec.targets
    heads = [path for path, each in cast("nn.Module", model).named_modules() if each is head]
    if any(f".{path}".endswith(f".{target}") for path in heads for target in named):
        raise ModelError("field 'lora.targets': the output embedding cannot be adapted; it is frozen in the log-probs.")
    try:
        made = get_peft_model(cast("PreTrainedModel", model), lora_config(spec), name, autocast_adapter_dtype=False)
    except ValueError as error:
        raise ModelError(f"field 'lora.targets': {error}") from None
    return cast("AdaptedLM", made)
