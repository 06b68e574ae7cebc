"""The joint state as a critic sees it: counts of answers, no text, so that no second language model is needed.

Groups are told apart by what they said alone: the state is the same for groups in any order, and a group's own features
move with it. The truth may be among them, since deployment asks no critic. Letters: q question, n game, g group, a
answer, f feature.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from trialign_ray.objective.candidates import UNNAMED

STATE, OWN, ACTION = 8, 4, 7
"""Numbers of features."""


class Turn(NamedTuple):
    """What the groups said in one turn; all are [q, n, g]."""

    utility_qng: Tensor
    truth_qng: Tensor
    answer_qng: Tensor
    length_qng: Tensor
    there_qng: Tensor

    @property
    def named_qng(self) -> Tensor:
        """True where an answer was read."""
        return self.there_qng & (self.answer_qng != UNNAMED)


class Features(NamedTuple):
    """Inputs of the critic's networks."""

    state_qnf: Tensor
    """Of all groups together."""
    own_qngf: Tensor
    """Of the group before it speaks."""
    action_qngf: Tensor
    """Of what it says."""


def features(now: Turn, last: Turn | None, firsts: Turn, objective_q: Tensor) -> Features:
    """Of the responses of `now`, whose speakers heard `last`, None in turn 1. firsts: the question's logged turn 1."""
    answers = 1 + int(
        max(turn.answer_qng.max() for turn in (now, firsts, *([] if last is None else [last]))).clamp(min=0)
    )
    right_qg, worth_qg = (_mean(value, firsts.there_qng, 1) for value in (firsts.truth_qng, firsts.utility_qng))
    logged_qga = _votes(firsts, answers).sum(1, keepdim=True)
    known_qn = objective_q.to(right_qg)[:, None].expand(now.there_qng.shape[:2])
    heard = _silence(now, answers) if last is None else _heard(last, answers)
    state = [*heard.of_all, known_qn, _mean(right_qg, firsts.there_qng.any(1), 1)[:, None].expand_as(known_qn)]
    own = [*heard.of_own, *(value_qg[:, None].expand(now.there_qng.shape) for value_qg in (right_qg, worth_qg))]
    changed_qng = torch.zeros_like(now.truth_qng) if last is None else (now.answer_qng != last.answer_qng).to(right_qg)
    action = [
        *(now.truth_qng, now.utility_qng, now.named_qng.to(right_qg)),
        *(_share(votes, now) for votes in (logged_qga, heard.votes_qna)),
        *(changed_qng, now.length_qng.to(right_qg).log1p() / 5),
    ]
    return Features(torch.stack(state, -1), torch.stack(own, -1), torch.stack(action, -1))


class _Heard(NamedTuple):
    votes_qna: Tensor
    of_all: list[Tensor]
    of_own: list[Tensor]


def _heard(last: Turn, answers: int) -> _Heard:
    """Shares of named, of distinct answers and of the plurality; entropy; share of right ones; own vote and truth."""
    votes_qna = _votes(last, answers)
    groups_qn = last.there_qng.sum(-1).clamp(min=1)
    share_qna = votes_qna / groups_qn[..., None]
    entropy_qn = -(share_qna * share_qna.clamp(min=1e-9).log()).sum(-1) / groups_qn.clamp(min=2).log()
    of_all = [
        *(torch.ones_like(entropy_qn), share_qna.sum(-1), (votes_qna > 0).sum(-1) / groups_qn, share_qna.amax(-1)),
        *(entropy_qn, _mean(last.truth_qng, last.there_qng, -1)),
    ]
    return _Heard(votes_qna, of_all, [_share(votes_qna, last), last.truth_qng])


def _silence(now: Turn, answers: int) -> _Heard:
    nothing_qn, nothing_qng = torch.zeros_like(now.truth_qng[..., 0]), torch.zeros_like(now.truth_qng)
    votes_qna = nothing_qn[..., None].expand(*nothing_qn.shape, answers)
    return _Heard(votes_qna, [nothing_qn] * 6, [nothing_qng] * 2)


def _votes(turn: Turn, answers: int) -> Tensor:
    """How many groups gave each answer, [q, n, a]."""
    empty = turn.truth_qng.new_zeros(*turn.truth_qng.shape[:2], answers)
    return empty.scatter_add(-1, turn.answer_qng.clamp(min=0), turn.named_qng.to(empty))


def _share(votes_qna: Tensor, turn: Turn) -> Tensor:
    """Share of the votes that each response's answer has, [q, n, g]; 0 where it has no answer."""
    votes_qna = votes_qna.expand(*turn.answer_qng.shape[:2], -1)
    all_qn1 = votes_qna.sum(-1, keepdim=True).clamp(min=1)
    return votes_qna.gather(-1, turn.answer_qng.clamp(min=0)) / all_qn1 * turn.named_qng


def _mean(value: Tensor, there: Tensor, dim: int) -> Tensor:
    return (value * there).sum(dim) / there.sum(dim).clamp(min=1)
