"""`trialign doctor --families`: the table of docs/models.md, made by the guard.

Every family of causal language models of the installed transformers, with its default configuration; for families whose
default is not what is published, or leaves a feature out, with the shapes below.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from transformers import CONFIG_MAPPING
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from trialign_ray.config.attention import AutoAttentionSpec
from trialign_ray.config.generators import TransformersSpec
from trialign_ray.config.tasks import CollectSpec
from trialign_ray.config.train import LoraSpec
from trialign_ray.trainer.guard.generation import wrong_generation
from trialign_ray.trainer.guard.verdict import judge

_LONG = {"rope_type": "longrope", "rope_theta": 1e4, "original_max_position_embeddings": 4096}
SHAPES: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "Llama 3.x": (
        "llama",
        {
            "num_key_value_heads": 8,
            "rope_parameters": {
                "rope_type": "llama3",
                "rope_theta": 5e5,
                "factor": 8.0,
                "low_freq_factor": 1.0,
                "high_freq_factor": 4.0,
                "original_max_position_embeddings": 8192,
            },
        },
    ),
    "Qwen2.5": ("qwen2", {"num_key_value_heads": 2, "use_sliding_window": False}),
    "Qwen3": ("qwen3", {}),
    "Qwen3.5": ("qwen3_5_text", {}),
    "Qwen3-Next": ("qwen3_next", {}),
    "Mistral with a window": ("mistral", {"sliding_window": 4096}),
    "Mixtral": ("mixtral", {"router_jitter_noise": 0.1}),
    "Gemma 2": ("gemma2", {}),
    "Gemma 3": ("gemma3_text", {}),
    "Phi-4-mini": (
        "phi3",
        {
            "hidden_size": 3072,
            "num_attention_heads": 24,
            "num_key_value_heads": 8,
            "max_position_embeddings": 131072,
            "original_max_position_embeddings": 4096,
            "rope_parameters": {
                **_LONG,
                "partial_rotary_factor": 0.75,
                "short_factor": [1.0] * 48,
                "long_factor": [1.0 + at / 3 for at in range(48)],
            },
        },
    ),
    "gpt-oss": ("gpt_oss", {}),
    "OLMo 2": ("olmo2", {}),
    "OLMo 3": ("olmo3", {}),
    "Granite": (
        "granite",
        {
            "logits_scaling": 8.0,
            "embedding_multiplier": 12.0,
            "residual_multiplier": 0.22,
            "attention_multiplier": 0.02,
        },
    ),
    "Granite 4 H": (
        "granitemoehybrid",
        {"layer_types": ["mamba"] * 5 + ["attention"] + ["mamba"] * 26, "num_hidden_layers": 32},
    ),
    "Command-R": ("cohere", {"logit_scale": 0.0625}),
    "Command-R7B": ("cohere2", {}),
    "DeepSeek V2": ("deepseek_v2", {"topk_method": "greedy", "num_experts_per_tok": 6, "n_group": 1, "topk_group": 1}),
    "DeepSeek V3": ("deepseek_v3", {}),
    "SmolLM3": ("smollm3", {}),
    "LFM2": ("lfm2", {"layer_types": ["conv", "conv", "full_attention", "conv"], "num_hidden_layers": 4}),
    "StarCoder2": ("starcoder2", {"residual_dropout": 0.1, "embedding_dropout": 0.1, "sliding_window": 4096}),
    "Llama with dynamic NTK": (
        "llama",
        {"rope_parameters": {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0}},
    ),
}
"""Name of a published shape -> its type, and what differs from the default configuration."""

_HEADS = {"head_dim": 128}
_NEEDED: Mapping[str, Mapping[str, Any]] = {
    **dict.fromkeys(("hunyuan_v1_dense", "hunyuan_v1_moe", "ministral"), _HEADS),
    "nemotron": {"num_key_value_heads": 8},
    "lfm2_moe": SHAPES["LFM2"][1],
    "deepseek_v2": SHAPES["DeepSeek V2"][1],
}
"""What a type's default configuration leaves out, so that no model can be made of it."""


_SAMPLES: int = CollectSpec.model_fields["samples"].default
"""Of each prompt, where responses are judged."""


@dataclass(frozen=True, slots=True)
class FamilyVerdict:
    """One family in the table."""

    name: str
    verdict: str
    why: str
    error: float
    gradient_error: float
    generation: str | None = None
    """Why responses would not be the model's own; empty where they are, None where that is not judged."""


def every_name() -> list[str]:
    """The published shapes, then all types of the installed transformers."""
    return [*SHAPES, *MODEL_FOR_CAUSAL_LM_MAPPING_NAMES]


def row(name: str) -> FamilyVerdict:
    """The guard's verdict on a published shape or a type."""
    kind, changes = SHAPES.get(name, (name, _NEEDED.get(name, {})))
    try:
        config = CONFIG_MAPPING[kind](**changes)
    except Exception as error:
        return FamilyVerdict(name, "refused", f"it has no default configuration: {str(error).splitlines()[0]}", -1, -1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = judge(config, AutoAttentionSpec(), LoraSpec())
        generation = wrong_generation(config, TransformersSpec(), _SAMPLES)
    return FamilyVerdict(name, found.word, found.why, found.finding.error, found.finding.gradient_error, generation)


def table(found: Sequence[FamilyVerdict]) -> str:
    """Markdown."""
    lines = [
        "| model | log-probs | largest error, nats | why not over trees | responses sampled here |",
        "|---|---|---|---|---|",
    ]
    for each in found:
        error = "" if each.verdict == "refused" else f"{each.error:.0e}"
        responses = {None: "not judged", "": "its own"}.get(each.generation, f"refused: {each.generation}")
        cells = (each.name, each.verdict, error, each.why, responses)
        lines.append("| " + " | ".join(cell.replace("|", "/") for cell in cells) + " |")
    return "\n".join(lines)
