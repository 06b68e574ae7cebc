"""From the groups' shares to what a step needs: token trees to score, and the objective's candidates.

A tree holds a group's candidates for a question and then, where answers compete, its forms of the closed set.

Letters: q question, g group, k candidate (padded), f frame, a answer (both padded), s response, numbered as the trees
hold them.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from trialign_ray.data.batch import NO_ANSWER, GroupBatch
from trialign_ray.objective.answers import AnswerSets
from trialign_ray.objective.candidates import UNNAMED, Candidates
from trialign_ray.objective.step import ScoredAnswers
from trialign_ray.trainer.packing import Tree, sizes


@dataclass(frozen=True, slots=True)
class StepBatch:
    """Whole questions over all groups."""

    trees: tuple[Tree, ...]
    """One for each (question, group) that has candidates, questions outermost."""
    candidates: Candidates
    candidate_n: Tensor
    """Number s of each candidate, in the order of [q, g, k]."""
    answers: AnswerSets | None
    """None where no closed sets are asked for."""
    form_m: Tensor
    """Number s of each form, in the order of [q, g, f, a]."""

    @property
    def scored_qgk(self) -> Tensor:
        """True where a candidate is a response of a tree."""
        return self.candidates.mask_qgk & self.candidates.there_qg[..., None]

    @property
    def response_tokens(self) -> int:
        """Tokens of all candidates: the unit of throughput."""
        return int((self.candidates.length_qgk * self.scored_qgk).sum())

    def to_qgk(self, value_s: Tensor) -> Tensor:
        """Spread a value of each candidate into [q, g, k]; 0 in padding. Carries the gradient."""
        mask = self.scored_qgk
        return value_s.new_zeros(mask.shape).masked_scatter(mask, value_s[self.candidate_n])

    def scored_answers(self, logp_s: Tensor) -> ScoredAnswers | None:
        """The closed sets with their log-probs; None where there are none. Carries the gradient."""
        if self.answers is None:
            return None
        mask = self.answers.mask_qgfa
        return ScoredAnswers(logp_s.new_zeros(mask.shape).masked_scatter(mask, logp_s[self.form_m]), self.answers)

    def behind_first_prompt(self) -> tuple[Tree, ...]:
        """The trees with the prompt of their question's first group, which must be there, in place of their own."""
        sizes = self.candidates.there_qg.sum(1).tolist()
        firsts = [0, *itertools.accumulate(sizes)]
        first = (self.trees[start] for start, size in zip(firsts, sizes, strict=False) for _ in range(size))
        return tuple(replace(tree, prompt=each.prompt) for tree, each in zip(self.trees, first, strict=True))

    def lacks_reference(self) -> bool:
        """Whether a reference log-prob is missing."""
        return bool(self.candidates.reference_logp_qgk.isnan().any())


def assemble(shares: Sequence[GroupBatch]) -> StepBatch:
    """Join the shares of all groups for the same questions, groups in the order given."""
    cells = [(share, q) for q in range(len(shares[0].objective_q)) for share in shares]
    candidates_c = [[share.response(n).tolist() for n in share.candidates(q)] for share, q in cells]
    forms_c = [[] if share.answers is None else [ids.tolist() for ids in share.answers.forms(q)] for share, q in cells]
    prompts_c = [share.prompt(q).tolist() for share, q in cells]
    trees = tuple(
        Tree(p, [*c, *f], group=index % len(shares))
        for index, (p, c, f) in enumerate(zip(prompts_c, candidates_c, forms_c, strict=True))
        if c
    )
    candidates = _candidates(shares, cells, candidates_c)
    is_form_s = np.repeat(
        [False, True] * len(cells), [n for c, f in zip(candidates_c, forms_c, strict=True) for n in (len(c), len(f))]
    )
    return StepBatch(
        trees,
        candidates,
        candidate_n=torch.from_numpy(np.flatnonzero(~is_form_s)),
        answers=_answer_sets(shares, candidates.objective_q),
        form_m=torch.from_numpy(np.flatnonzero(is_form_s)),
    )


def _candidates(
    shares: Sequence[GroupBatch], cells: Sequence[tuple[GroupBatch, int]], candidates_c: Sequence[Sequence[list[int]]]
) -> Candidates:
    """The objective's candidates. cells: share and question, questions outermost; candidates_c: their responses."""
    shape = (len(cells) // len(shares), len(shares), max(map(len, candidates_c)))
    count_qg = np.array([len(responses) for responses in candidates_c]).reshape(shape[:2])
    mask = np.arange(shape[2]) < count_qg[..., None]

    def spread(field: str, fill: float, dtype: Any) -> Tensor:
        full = np.full(shape, fill, dtype)
        full[mask] = np.concatenate([getattr(share, field)[_slice(share, q)] for share, q in cells])
        return torch.from_numpy(full)

    lengths = np.ones(shape, np.float64)
    lengths[mask] = [len(response) for responses in candidates_c for response in responses]
    return Candidates(
        utility_qgk=spread("utility_n", 0, np.float64),
        truth_qgk=spread("truth_n", 0, np.float64),
        answer_qgk=_answers_within_question(spread("answer_n", NO_ANSWER, np.int64)),
        length_qgk=torch.from_numpy(lengths),
        # A place that nobody fills holds one candidate, so that no row of a softmax is empty.
        mask_qgk=torch.from_numpy(np.arange(shape[2]) < np.maximum(count_qg, 1)[..., None]),
        there_qg=torch.from_numpy(count_qg > 0),
        own_qgk=spread("own_n", 0, np.bool_),
        reference_logp_qgk=spread("reference_logp_n", 0, np.float64),
        objective_q=torch.from_numpy(np.any([share.objective_q for share in shares], axis=0)),
    )


def _answer_sets(shares: Sequence[GroupBatch], objective_q: Tensor) -> AnswerSets | None:
    """The closed sets of the step; the truth is the first answer of a question that has one."""
    forms = [share.answers for share in shares if share.answers is not None]
    if not forms:
        return None
    frames_qg = torch.from_numpy(np.stack([each.frames_q for each in forms], 1))
    answers_qg = torch.from_numpy(np.stack([each.answers_q for each in forms], 1))
    frame_f, answer_a = torch.arange(max(1, int(frames_qg.max()))), torch.arange(max(1, int(answers_qg.max())))
    there_qgf, there_qga = frame_f < frames_qg[..., None], answer_a < answers_qg[..., None]
    known_q = objective_q & (answers_qg > 0).any(1)
    right_qa = ((answer_a == 0) & known_q[:, None]).double()
    return AnswerSets(there_qgf[..., None] & there_qga[..., None, :], right_qa, known_q)


def divide_trees(trees: Sequence[Tree], ranks: int) -> list[list[int]]:
    """Indices of the trees of each rank: the largest first, each to the rank with the fewest nodes so far.

    A step ends when its slowest rank does. Any split gives the same step, since log-probs are gathered before the
    objective.
    """
    size = sizes(trees)
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
