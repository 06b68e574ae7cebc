"""The part of a causal language model that makes hidden states."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trialign_ray.models.base import Decoder


def decoder_of(model: Any) -> Decoder:
    """The model without its output embedding.

    transformers finds it by the usual names. Of families that use none of them (Llama 4, Llama 3.2 Vision) it gives the
    whole model, and of one that calls its head a decoder (ModernBERT's) that head.
    """
    found: Decoder = model.get_decoder()
    missed = found is model or found is model.get_output_embeddings()
    return getattr(model, "model", found) if missed else found
