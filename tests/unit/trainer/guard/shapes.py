"""Small models of many families with random weights at which every part of them matters."""

from __future__ import annotations

from typing import Any

from transformers import CONFIG_MAPPING

from trialign_ray.trainer.packing import Tree

BASE = {
    "vocab_size": 128,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
TREES = [
    Tree([5, 6, 7, 8], [[9, 10, 11, 12, 13], [9, 10, 14, 15], [16, 17, 18]]),
    Tree([20, 21], [[22, 23, 24]]),
]


def config(kind: str, drop: Any = (), **changes: Any) -> Any:
    """The configuration of a type, small, with these changes and without those fields of BASE that are in `drop`."""
    return CONFIG_MAPPING[kind](**{name: value for name, value in BASE.items() if name not in drop} | changes)


def hybrids() -> dict[str, Any]:
    """Models with recurrent or convolution layers beside attention."""
    linear = {
        "linear_num_value_heads": 4,
        "linear_num_key_heads": 2,
        "linear_key_head_dim": 16,
        "linear_value_head_dim": 16,
        "layer_types": ["linear_attention", "full_attention"],
    }
    mamba = {"mamba_n_heads": 4, "mamba_d_head": 32, "mamba_d_state": 16, "mamba_n_groups": 1}
    return {
        "qwen3_5_text": config("qwen3_5_text", head_dim=16, **linear),
        "qwen3_next": config("qwen3_next", head_dim=16, num_experts=4, num_experts_per_tok=2, **linear),
        "lfm2": config("lfm2", layer_types=["conv", "full_attention"], block_auto_adjust_ff_dim=False),
        "granitemoehybrid": config("granitemoehybrid", layer_types=["mamba", "attention"], **mamba),
        "jamba": config(
            "jamba", attn_layer_period=2, attn_layer_offset=1, num_experts=2, mamba_d_state=8, use_mamba_kernels=False
        ),
    }


def draws() -> dict[str, Any]:
    """Models that draw at random in training mode, without a dropout module."""
    return {
        "seed_oss": config("seed_oss", head_dim=16, residual_dropout=0.1, attention_dropout=0.1),
        "starcoder2": config("starcoder2", sliding_window=None, residual_dropout=0.1, embedding_dropout=0.1),
        "opt": config("opt", drop=("intermediate_size", "num_key_value_heads"), ffn_dim=96, word_embed_proj_dim=64),
        "mixtral": config("mixtral", num_local_experts=4, num_experts_per_tok=2, router_jitter_noise=0.1),
    }


def heads() -> dict[str, Any]:
    """Models whose logits are more than a product."""
    experts = {"num_local_experts": 4, "num_experts_per_tok": 2}
    return {
        "cap": config("gemma3_text", head_dim=16, sliding_window=8, final_logit_softcapping=3.0),
        "scale 1.1": config("granite", logits_scaling=1.1, attention_multiplier=0.25),
        "scale 8": config("granitemoe", logits_scaling=8.0, **experts),
        "bias": config("phi"),
        "factor": config("cohere", logit_scale=0.0625),
    }


def windows() -> dict[str, Any]:
    """Models whose attention has windows, caps, sinks or a value width of its own."""
    latent = {"q_lora_rank": 24, "kv_lora_rank": 16, "qk_rope_head_dim": 8, "qk_nope_head_dim": 16, "v_head_dim": 12}
    return {
        "mistral": config("mistral", sliding_window=4096),
        "gemma2": config("gemma2", head_dim=16, sliding_window=4096, attn_logit_softcapping=2.0),
        "gpt_oss": config("gpt_oss", head_dim=16, num_local_experts=4, num_experts_per_tok=2),
        "cohere2": config("cohere2", sliding_window=4096, layer_types=["sliding_attention", "full_attention"]),
        "deepseek_v3": config("deepseek_v3", num_key_value_heads=4, moe_intermediate_size=32, **latent),
    }
