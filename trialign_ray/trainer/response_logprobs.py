"""Log-probs of responses by one forward over packed trees, or over one response a row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from trialign_ray.models.base import CausalLM
from trialign_ray.models.decoder import decoder_of
from trialign_ray.models.head import head_of
from trialign_ray.models.rope import original_length
from trialign_ray.trainer.attention.base import AttentionBackend, Slots, trees_in
from trialign_ray.trainer.logprobs import token_logprobs
from trialign_ray.trainer.packing import Ints, Packed, Tree, pack, pack_apart

NO_TREE = Tree([0], [[0]])
"""Scored and thrown away: every rank of ZeRO makes the same passes, one that has nothing to score in them too."""


def response_logprobs(
    model: CausalLM, attention: AttentionBackend, trees: Sequence[Tree], temperature: float = 1.0
) -> Tensor:
    """Log p(response | prompt) of all responses, in the order of the trees, float32 [responses].

    `model` must run its attention by `attention.implementation`. temperature: that of the sampling whose log-probs
    these are; above 0.

    LongRoPE (arXiv 2402.13753) has two sets of frequencies and takes one by the longest sequence of a forward. Each
    response is to have those of its own length, so the long ones are a second forward.
    """
    border = original_length(model.config)
    if border is None:
        return _one_forward(model, attention, trees, temperature)
    length_s = torch.tensor([len(tree.prompt) + len(said) for tree in trees for said in tree.responses])
    short_s, found = length_s <= border, torch.zeros(len(length_s), device=model.device)
    for chosen_s in (short_s, ~short_s):
        part = _part(trees, chosen_s.tolist())
        logp_s = _one_forward(model, attention, part or [NO_TREE], temperature, 0 if chosen_s is short_s else border)
        found = found.index_put((chosen_s.nonzero()[:, 0].to(found.device),), logp_s[: int(chosen_s.sum())])
    return found


def _part(trees: Sequence[Tree], chosen_s: Sequence[bool]) -> list[Tree]:
    """The trees with the chosen responses only, without those that have none."""
    left, parts = iter(chosen_s), []
    for tree in trees:
        kept = [s for s in range(len(tree.responses)) if next(left)]
        unscored = [tree.unscored[s] for s in kept] if tree.unscored else ()
        parts.append(replace(tree, responses=[tree.responses[s] for s in kept], unscored=unscored))
    return [part for part in parts if part.responses]


def _one_forward(
    model: CausalLM, attention: AttentionBackend, trees: Sequence[Tree], temperature: float, reach: int = 0
) -> Tensor:
    """reach: a position that the forward is to hold, so that it takes the frequencies of sequences that long."""
    packed = pack_apart(trees) if attention.implementation is None else pack(trees)
    if packed.position_rt.max() < reach and trees[0] is not NO_TREE:
        packed = _reaching(packed, reach)
    device = model.device

    def tensor(array: Ints) -> Tensor:
        return torch.from_numpy(array).to(device)

    hidden_nd = _hidden(model, attention, packed).flatten(0, 1)[tensor(packed.node_n)]
    # ZeRO-3 gathers a weight that is read outside its own module, as the head's is here.
    head = head_of(model, temperature)
    logp_p = token_logprobs(hidden_nd, head, tensor(packed.pair_node_p), tensor(packed.pair_token_p))
    logp_s = logp_p.new_zeros(packed.responses)
    return logp_s.index_add(0, tensor(packed.token_response_m), logp_p[tensor(packed.token_pair_m)])


def _hidden(model: CausalLM, attention: AttentionBackend, packed: Packed) -> Tensor:
    """[rows, slots, width]."""
    device = model.device
    ids_rt = torch.from_numpy(packed.ids_rt).to(device)
    if attention.implementation is None:
        # Only input ids: a model that counts places itself counts them right, and the padding behind is not seen.
        return decoder_of(model)(input_ids=ids_rt, use_cache=False).last_hidden_state
    slots = Slots(torch.from_numpy(packed.position_rt).to(device), torch.from_numpy(packed.end_rt).to(device))
    with trees_in(slots, attention):
        found = decoder_of(model)(
            input_ids=ids_rt,
            position_ids=slots.position_rt,
            attention_mask=torch.ones_like(ids_rt),  # without one, transformers looks for sequences in the positions
            use_cache=False,
        )
    return found.last_hidden_state


def _reaching(packed: Packed, position: int) -> Packed:
    """With one more slot in each row that stands at `position` and is seen by none."""
    width = packed.ids_rt.shape[1]
    return replace(
        packed,
        ids_rt=np.pad(packed.ids_rt, ((0, 0), (0, 1))),
        position_rt=np.pad(packed.position_rt, ((0, 0), (0, 1)), constant_values=position),
        end_rt=np.pad(packed.end_rt, ((0, 0), (0, 1)), constant_values=width + 1),
        node_n=packed.node_n // width * (width + 1) + packed.node_n % width,
    )
