"""Log-probs of given responses under a model: the learner's packed trees, without a gradient.

All options behind one prompt are one tree, so the prompt is computed once however many there are. Prompts that begin
alike, as those of one group do, share a tree too: what they have in common is computed once. A model that runs one
response a row shares nothing, and its passes count the rows that run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch
from torch import nn

from trialign_ray.config.attention import AutoAttentionSpec
from trialign_ray.models.base import CausalLM
from trialign_ray.models.loading import load_adapted
from trialign_ray.trainer.attention.base import AttentionBackend
from trialign_ray.trainer.guard.verdict import config_of, exact_attention, exact_on
from trialign_ray.trainer.packing import Tree, tree_nodes
from trialign_ray.trainer.policy import frozen_for_trees
from trialign_ray.trainer.response_logprobs import response_logprobs

NODES = 8192
"""Tokens in one pass, padding included; a larger tree is a pass of its own."""
JOINT_NODES = 512
"""Tokens up to which prompts share a tree: attention within it is quadratic, and costs a sixth of the rest there."""


@dataclass(frozen=True, slots=True)
class OptionScorer:
    """Scores responses with one model."""

    model: CausalLM
    attention: AttentionBackend
    temperature: float = 1.0
    """Of the sampling whose log-probs are asked for; above 0."""

    @torch.no_grad()
    def logprobs(self, trees: Sequence[Tree], on_progress: Callable[[int], None] | None = None) -> list[list[float]]:
        """Log p(response | prompt) in nats for each response of each tree, in the order of the trees.

        `on_progress` is called with the number of trees done since its last call. Raises ModelError for a model whose
        attention a tree cannot reproduce.
        """
        found: list[list[float]] = [[] for _ in trees]
        apart = self.attention.implementation is None
        alike = [[index] for index in range(len(trees))] if apart else _alike(trees)
        merged = [_joint([trees[index] for index in members]) for members in alike]
        for part in _passes([_shape(tree, apart) for tree in merged]):
            joint = [merged[number] for number in part]
            logp_s = response_logprobs(self.model, self.attention, joint, self.temperature).tolist()
            members = [index for number in part for index in alike[number]]
            for index in members:
                found[index], logp_s = logp_s[: len(trees[index].responses)], logp_s[len(trees[index].responses) :]
            if on_progress is not None:
                on_progress(len(members))
        return found


def load_scorer(model: Path, adapter: Path | None, dtype: str, device: str, temperature: float = 1.0) -> OptionScorer:
    """A scorer of the model in folder `model`, with the PEFT adapter in folder `adapter` merged into it.

    dtype: 'bfloat16' or 'float32'. device: as PyTorch names it. temperature: of the sampling, as `OptionScorer`
    has it. Raises ModelError, before the weights are loaded where the guard finds that scores would not be exact, on
    this machine's CPU or on `device`.
    """
    config, spec = config_of(model), AutoAttentionSpec()
    if torch.device(device).type == "cuda":  # whose kernels are others than those of the CPU
        exact_on(torch.device(device), config, spec)
    else:
        exact_attention(config, spec)
    loaded = load_adapted(model, adapter, dtype)
    cast("nn.Module", loaded).to(device)
    return OptionScorer(loaded, frozen_for_trees(loaded, spec), temperature)


def _alike(trees: Sequence[Tree]) -> list[list[int]]:
    """Indices of trees that share one: neighbours by the order of their prompts, as long as the joint tree is small."""
    parts: list[list[int]] = []
    before: Sequence[int] = ()
    nodes = 0
    for index in sorted(range(len(trees)), key=lambda i: tuple(trees[i].prompt)):
        prompt, size = trees[index].prompt, tree_nodes(trees[index])
        shared = _common(before, prompt)
        if parts and shared and nodes + size - shared <= JOINT_NODES:
            parts[-1].append(index)
            nodes += size - shared
        else:
            parts.append([index])
            nodes = size
        before = prompt
    return parts


def _joint(trees: Sequence[Tree]) -> Tree:
    """One tree of them all: behind what their prompts share, the rest of each prompt with each of its responses."""
    # The prompts are in order, so what the first and the last share all of them do.
    shared = _common(trees[0].prompt, trees[-1].prompt)
    rest = [(list(tree.prompt[shared:]), response) for tree in trees for response in tree.responses]
    return Tree(trees[0].prompt[:shared], [[*head, *said] for head, said in rest], [len(head) for head, _ in rest])


def _common(one: Sequence[int], other: Sequence[int]) -> int:
    """How many first tokens are the same."""
    pairs = zip(one, other, strict=False)
    return next((at for at, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))


def _shape(tree: Tree, apart: bool) -> tuple[int, int]:
    """Rows and slots of each that a tree takes. apart: each response is a row behind its own copy of the prompt."""
    if not apart:
        return 1, tree_nodes(tree)
    return len(tree.responses), len(tree.prompt) + max(map(len, tree.responses)) - 1


def _passes(shapes: Sequence[tuple[int, int]]) -> Iterator[list[int]]:
    """Indices of the trees of each pass, trees of similar width together, so that rows are full. shapes: by tree."""
    part: list[int] = []
    rows = 0
    for index in sorted(range(len(shapes)), key=lambda i: shapes[i][1]):
        more, width = shapes[index]
        if part and width * (rows + more) > NODES:
            yield part
            part, rows = [], 0
        part.append(index)
        rows += more
    if part:
        yield part
