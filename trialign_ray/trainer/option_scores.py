"""Log-probs of given responses under a model: the learner's packed trees, without a gradient.

All options behind one prompt are one tree, so the prompt is computed once however many there are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch
from torch import nn

from trialign_ray.config.attention import MatmulSpec
from trialign_ray.models.base import CausalLM
from trialign_ray.models.loading import load_adapted
from trialign_ray.trainer.attention.base import AttentionBackend
from trialign_ray.trainer.packing import Tree, tree_nodes
from trialign_ray.trainer.policy import frozen_for_trees, response_logprobs

NODES = 8192
"""Tokens in one pass, padding included; a larger tree is a pass of its own."""


@dataclass(frozen=True, slots=True)
class OptionScorer:
    """Scores responses with one model."""

    model: CausalLM
    attention: AttentionBackend

    @torch.no_grad()
    def logprobs(self, trees: Sequence[Tree], on_progress: Callable[[int], None] | None = None) -> list[list[float]]:
        """Log p(response | prompt) in nats for each response of each tree, in the order of the trees.

        `on_progress` is called with the number of trees done since its last call. Raises ModelError for a model whose
        attention a tree cannot reproduce.
        """
        found: list[list[float]] = [[] for _ in trees]
        for part in _passes(trees):
            logp_s = response_logprobs(self.model, self.attention, [trees[index] for index in part]).tolist()
            for index in part:
                found[index], logp_s = logp_s[: len(trees[index].responses)], logp_s[len(trees[index].responses) :]
            if on_progress is not None:
                on_progress(len(part))
        return found


def load_scorer(model: Path, adapter: Path | None, dtype: str, device: str) -> OptionScorer:
    """A scorer of the model in folder `model`, with the PEFT adapter in folder `adapter` merged into it.

    dtype: 'bfloat16' or 'float32'. device: as PyTorch names it. Raises ModelError.
    """
    loaded = load_adapted(model, adapter, dtype)
    cast("nn.Module", loaded).to(device)
    return OptionScorer(loaded, frozen_for_trees(loaded, MatmulSpec()))


def _passes(trees: Sequence[Tree]) -> Iterator[list[int]]:
    """Indices of the trees of each pass, trees of similar size together, so that rows are full."""
    size = [tree_nodes(tree) for tree in trees]
    part: list[int] = []
    for index in sorted(range(len(trees)), key=lambda i: size[i]):
        if part and size[index] * (len(part) + 1) > NODES:
            yield part
            part = []
        part.append(index)
    if part:
        yield part
