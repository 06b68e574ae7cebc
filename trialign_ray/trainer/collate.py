"""From the groups' shares to what a step needs: token trees to score, and the objective's candidates.

Letters: q question, g group, k candidate (padded), s response, numbered as the trees hold them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from trialign_ray.data.batch import NO_ANSWER, GroupBatch
from trialign_ray.objective.candidates import UNNAMED, Candidates
from trialign_ray.trainer.packing import Tree, tree_nodes


@dataclass(frozen=True, slots=True)
class StepBatch:
    """Whole questions over all groups."""

    trees: tuple[Tree, ...]
    """One for each (question, group), questions outermost."""
    candidates: Candidates

    @property
    def response_tokens(self) -> int:
        """Tokens of all responses: the unit of throughput."""
        return sum(len(response) for tree in self.trees for response in tree.responses)

    def to_qgk(self, value_s: Tensor) -> Tensor:
        """Spread a value of each response into [q, g, k]; 0 in padding. Carries the gradient."""
        mask = self.candidates.mask_qgk
        return value_s.new_zeros(mask.shape).masked_scatter(mask, value_s)

    def lacks_reference(self) -> bool:
        """Whether a reference log-prob is missing."""
        return bool(self.candidates.reference_logp_qgk.isnan().any())


def assemble(shares: Sequence[GroupBatch]) -> StepBatch:
    """Join the shares of all groups for the same questions, groups in the order given."""
    questions = len(shares[0].objective_q)
    cells = [(share, q) for q in range(questions) for share in shares]
    trees = tuple(
        Tree(share.prompt(q).tolist(), [share.response(n).tolist() for n in share.candidates(q)]) for share, q in cells
    )
    shape = (questions, len(shares), max(len(tree.responses) for tree in trees))
    mask = np.zeros(shape, np.bool_)
    for cell, tree in zip(np.ndindex(*shape[:2]), trees, strict=True):
        mask[cell][: len(tree.responses)] = True

    def spread(field: str, fill: float, dtype: Any) -> Tensor:
        full = np.full(shape, fill, dtype)
        full[mask] = np.concatenate([getattr(share, field)[_slice(share, q)] for share, q in cells])
        return torch.from_numpy(full)

    lengths = np.ones(shape, np.float64)
    lengths[mask] = [len(response) for tree in trees for response in tree.responses]
    candidates = Candidates(
        utility_qgk=spread("utility_n", 0, np.float64),
        truth_qgk=spread("truth_n", 0, np.float64),
        answer_qgk=_answers_within_question(spread("answer_n", NO_ANSWER, np.int64)),
        length_qgk=torch.from_numpy(lengths),
        mask_qgk=torch.from_numpy(mask),
        own_qgk=spread("own_n", 0, np.bool_),
        reference_logp_qgk=spread("reference_logp_n", 0, np.float64),
        objective_q=torch.from_numpy(shares[0].objective_q.copy()),
    )
    return StepBatch(trees, candidates)


def divide_trees(trees: Sequence[Tree], ranks: int) -> list[list[int]]:
    """Indices of the trees of each rank: the largest first, each to the rank with the fewest nodes so far.

    A step ends when its slowest rank does. Any split gives the same step, since log-probs are gathered before the
    objective.
    """
    size = [tree_nodes(tree) for tree in trees]
    load = [0] * ranks
    parts: list[list[int]] = [[] for _ in range(ranks)]
    for index in sorted(range(len(trees)), key=lambda i: (-size[i], i)):
        rank = load.index(min(load))
        load[rank] += size[index]
        parts[rank].append(index)
    return [sorted(part) for part in parts]


def _slice(share: GroupBatch, q: int) -> slice:
    numbers = share.candidates(q)
    return slice(numbers.start, numbers.stop)


def _answers_within_question(name_qgk: Tensor) -> Tensor:
    """Number the answers of each question from 0; UNNAMED where there is none."""
    numbered = torch.full_like(name_qgk, UNNAMED)
    for q, name_gk in enumerate(name_qgk):
        named = name_gk != NO_ANSWER
        numbered[q][named] = torch.unique(name_gk[named], return_inverse=True)[1]
    return numbered
