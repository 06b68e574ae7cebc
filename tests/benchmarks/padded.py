"""The same step without prefix sharing: every response behind its own copy of the prompt, padded on the right.

The baseline is made as good as padding allows: sequences of like length share a micro-batch; behind right padding the
fused causal kernel needs no mask; only the places that predict a response token meet the vocabulary.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor

from tests.benchmarks.bare import BareEngine
from trialign_ray.data.batch import GroupBatch
from trialign_ray.objective.step import Objective, step_objective
from trialign_ray.trainer.collate import assemble

if TYPE_CHECKING:
    from trialign_ray.models.base import AdaptedLM

MICRO_BATCH = 2048
"""Tokens, padding included: 5 GiB with the demo's model. 4096 take 7 GiB."""


@dataclass(frozen=True, slots=True)
class Row:
    """A prompt and one response to it."""

    prompt: Sequence[int]
    response: Sequence[int]

    def __len__(self) -> int:
        return len(self.prompt) + len(self.response)


@dataclass(frozen=True, slots=True)
class PaddedStep:
    """What a step came to."""

    loss: float
    seconds: float
    tokens: int
    utility_g: Tensor


def padded_step(
    engine: BareEngine, objective: Objective, shares: Sequence[GroupBatch], utility_g: Tensor
) -> PaddedStep:
    """One optimizer step in micro-batches, each with one forward and one backward.

    The objective couples all responses of a step, so its slope is taken from a scoring pass before it. That pass is
    not in the seconds: an objective without such a coupling would not need it.
    """
    batch = assemble(shares)
    sequences = [Row(tree.prompt, response) for tree in batch.trees for response in tree.responses]
    parts = micro_batches(sequences)
    leaf_s = _score(engine, sequences, parts).requires_grad_()
    started = time.perf_counter()
    outputs = step_objective(objective, batch.to_qgk(leaf_s), batch.candidates, utility_g)
    (slope_s,) = torch.autograd.grad(outputs.loss, leaf_s)
    for part in parts:
        logp_s = padded_logprobs(engine, [sequences[i] for i in part])
        engine.backward((logp_s * slope_s[part].to(logp_s)).sum())
    engine.step()
    seconds = time.perf_counter() - started
    return PaddedStep(float(outputs.loss.detach()), seconds, batch.response_tokens, outputs.utility_g)


def micro_batches(sequences: Sequence[Row]) -> list[list[int]]:
    """Indices of the sequences of each micro-batch, the longest first; each within MICRO_BATCH unless it holds one."""
    parts: list[list[int]] = []
    for index in sorted(range(len(sequences)), key=lambda i: -len(sequences[i])):
        if parts and (len(parts[-1]) + 1) * len(sequences[parts[-1][0]]) <= MICRO_BATCH:
            parts[-1].append(index)
        else:
            parts.append([index])
    return parts


def padded_logprobs(engine: BareEngine, sequences: Sequence[Row]) -> Tensor:
    """Log-prob of each response, float32 [sequences]."""
    model = cast("AdaptedLM", engine.module.model).get_base_model()
    width = max(len(sequence) for sequence in sequences)
    ids_st = torch.zeros(len(sequences), width, dtype=torch.long)
    for row, sequence in enumerate(sequences):
        ids_st[row, : len(sequence)] = torch.tensor([*sequence.prompt, *sequence.response])
    hidden_std = model.get_decoder()(input_ids=ids_st, use_cache=False).last_hidden_state
    row_m = torch.tensor([row for row, sequence in enumerate(sequences) for _ in sequence.response])
    place_m = torch.cat([torch.arange(len(s.prompt), len(s)) for s in sequences])
    logits_mv = model.get_output_embeddings()(hidden_std[row_m, place_m - 1])
    logp_m = torch.log_softmax(logits_mv, -1, dtype=torch.float32).gather(1, ids_st[row_m, place_m][:, None])[:, 0]
    return logp_m.new_zeros(len(sequences)).index_add(0, row_m, logp_m)


@torch.no_grad()
def _score(engine: BareEngine, sequences: Sequence[Row], parts: Sequence[Sequence[int]]) -> Tensor:
    logp_s = torch.zeros(len(sequences), dtype=torch.float64)
    for part in parts:
        logp_s[list(part)] = padded_logprobs(engine, [sequences[i] for i in part]).double()
    return logp_s
