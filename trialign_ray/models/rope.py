"""Rotary embeddings whose frequencies depend on how long the sequences of a forward are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from trialign_ray.errors import ModelError


def original_length(config: Any) -> int | None:
    """Tokens up to which a model with LongRoPE (arXiv 2402.13753) uses its short frequencies; None for other models."""
    rope = _rope(config)
    return int(rope["original_max_position_embeddings"]) if rope.get("rope_type") == "longrope" else None


def refuse_moving_frequencies(config: Any, prompts: Sequence[int], new_tokens: int) -> None:
    """Raise ModelError where a response would begin under other frequencies than it ends, or than one beside it.

    prompts: tokens of each prompt of a call. new_tokens: the most that a response adds.
    """
    kind, border = _rope(config).get("rope_type"), original_length(config)
    if kind == "dynamic":
        border = int(config.get_text_config(decoder=True).max_position_embeddings)
    if border is None or max(prompts) + new_tokens <= border or (kind == "longrope" and min(prompts) > border):
        return
    raise ModelError(
        f"rotary frequencies (rope type '{kind}') change at {border} tokens: prompts have {min(prompts)} to "
        f"{max(prompts)}, and responses add up to {new_tokens}. Ask for fewer new tokens, or shorten the prompts."
    )


def _rope(config: Any) -> dict[str, Any]:
    found = getattr(config.get_text_config(decoder=True), "rope_parameters", None)
    return found if isinstance(found, dict) else {}
