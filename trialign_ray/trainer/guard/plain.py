"""What the guard compares with: every response by itself, in one forward of the model as it is."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from trialign_ray.models.base import CausalLM
from trialign_ray.trainer.packing import Tree

OWN = "eager"
"""The attention of a model's own code."""
SHALLOW = Tree(
    [5, 6, 7, 8], [[9, 10, 11, 12, 13], [9, 10, 14, 15], [9, 10, 14], [16], [17, 18, 19, 20, 21, 22, 23, 24, 25]]
)


def guard_trees() -> list[Tree]:
    """Trees that branch early, late and not at all, most of them deeper than the copy's windows and original lengths,
    and responses on both sides of each.
    """
    rng = torch.Generator().manual_seed(0)

    def said(length: int) -> list[int]:
        return torch.randint(1, 100, (length,), generator=rng).tolist()

    stem, long = said(20), said(34)
    deep = Tree(said(22), [[*stem, *said(12)], [*stem[:9], *said(30)], [*stem[:9], 7], said(1), said(2), said(3)])
    return [SHALLOW, deep, Tree(said(3), [long, [*long[:-1], 3], [*long[:20], *said(40)]]), Tree(said(30), [said(5)])]


def plain_logprobs(model: CausalLM, trees: Sequence[Tree]) -> Tensor:
    """Log p(response | prompt) of each response, its prompt and itself being all of the input, float32 [responses]."""
    return torch.stack([_of_response(model, tree.prompt, said) for tree in trees for said in tree.responses])


def _of_response(model: CausalLM, prompt: Sequence[int], response: Sequence[int]) -> Tensor:
    ids_1t = torch.tensor([[*prompt, *response]], device=model.device)
    logp_tv = model(input_ids=ids_1t, use_cache=False).logits[0].float().log_softmax(-1)
    at = torch.arange(len(prompt) - 1, ids_1t.shape[1] - 1, device=model.device)
    return logp_tv[at, ids_1t[0, at + 1]].sum()
