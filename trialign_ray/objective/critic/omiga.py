"""A learnt utterance-level critic (OMIGA, arXiv 2307.11620): one value of all groups, taken apart into each one's own.

    Q_tot = sum_i w_i(s) Q_i(s, y_i) + b(s), w_i >= 0;    V_tot alike with V_i(s)
    L_Q = (r + gamma [t < T] sg V_tot(s') - Q_tot)^2
    L_V = mean_i exp(z_i) + w_i / alpha V_i,    z_i = clip(w_i / alpha (Q_i - V_i)), Q and w held

At its minimum the logged mean of exp(z_i) is 1, and the policy that follows it is mu exp(z_i), mu the logged one. The
joint reward r is the sum of the utilities less `disagreement` * groups * share of the pairs that differ. A game ends
after a few turns, so V_tot(s') is taken as it is, without the source's slow copy.

Letters: b game, t turn, g group, f feature.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from trialign_ray.objective.candidates import UNNAMED, Candidates
from trialign_ray.objective.critic.base import JointGames
from trialign_ray.objective.critic.features import ACTION, OWN, STATE, Features, Turn, features

_CLIP = 10.0
"""Of z, as in the source."""


class Values(NamedTuple):
    """What the networks say; [..., g], and [...] of the mixer's own term."""

    q_g: Tensor
    v_g: Tensor
    w_g: Tensor
    b: Tensor

    def total(self, of_g: Tensor, there_g: Tensor) -> Tensor:
        """The monotone mixture of Q_i or V_i over the groups that are there."""
        return (self.w_g * of_g * there_g).sum(-1) + self.b


class OmigaCritic:
    """Three small networks for w, Q and V, shared by the groups, and one for b; fitted by Adam on logged games."""

    def __init__(
        self,
        *,
        alpha: float,
        gamma: float,
        disagreement: float,
        hidden: int,
        steps: int,
        games: int,
        learning_rate: float,
    ) -> None:
        self._alpha, self._gamma, self._disagreement = alpha, gamma, disagreement
        self._steps, self._games, self._learning_rate = steps, games, learning_rate
        inputs = {"q": STATE + OWN + ACTION, "v": STATE + OWN, "w": STATE + OWN, "b": STATE}
        with torch.random.fork_rng(devices=[]):  # the same networks whatever was drawn before
            torch.manual_seed(0)
            self._net = nn.ModuleDict({name: _mlp(size, hidden) for name, size in inputs.items()}).double()
        self._net.register_buffer("explained", torch.tensor(torch.nan, dtype=torch.float64))

    @property
    def explained(self) -> float:
        """Of the joint values, on the games of the fit itself."""
        return float(self._net.get_buffer("explained"))

    def fit(self, games: JointGames) -> None:
        """As `trialign_ray.objective.critic.base.Critic` says."""
        told = _told(games)
        reward_bt = joint_reward(games, self._disagreement).flatten(0, 1)
        there_btg = games.there_qntg.flatten(0, 1)
        optimizer = torch.optim.Adam(self._net.parameters(), lr=self._learning_rate)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, self._steps)
        draw = torch.Generator().manual_seed(0)
        for _ in range(self._steps):
            chosen = torch.randperm(len(reward_bt), generator=draw)[: self._games]
            values = self._values(Features(*(each[chosen] for each in told)))
            optimizer.zero_grad()
            self._loss(values, reward_bt[chosen], there_btg[chosen]).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
        with torch.no_grad():
            values = self._values(told)
            error_bt = self._targets(values, reward_bt, there_btg) - values.total(values.q_g, there_btg)
            spread_bt = error_bt + values.total(values.q_g, there_btg)
        played = there_btg.any(-1)
        left = error_bt[played].square().mean() / spread_bt[played].var(correction=0).clamp(min=1e-12)
        self._net.get_buffer("explained").fill_(1 - left)

    @torch.no_grad()
    def merit(self, candidates: Candidates) -> Tensor:
        """Of each candidate the z as if it were said in turn 1, [q, g, k]."""
        values = [candidates.utility_qgk, candidates.truth_qgk, candidates.answer_qgk, candidates.length_qgk]
        now = Turn(*(each.transpose(1, 2) for each in (*values, candidates.mask_qgk & candidates.there_qg[..., None])))
        firsts = now._replace(there_qng=now.there_qng & candidates.own_qgk.transpose(1, 2))
        said = self._values(features(now, None, firsts, candidates.objective_q))
        return self._z(said).transpose(1, 2)

    def state_dict(self) -> Mapping[str, Tensor]:
        """All that was learnt."""
        return self._net.state_dict()

    def load_state_dict(self, state: Mapping[str, Tensor], /) -> object:
        """Continue from `state_dict()`."""
        return self._net.load_state_dict(dict(state))

    def _values(self, told: Features) -> Values:
        state_gf = told.state_qnf[..., None, :].expand(*told.own_qngf.shape[:-1], STATE)
        before = torch.cat([state_gf, told.own_qngf], -1)
        q_g, v_g, w_g = (
            self._net[name](given)[..., 0]
            for name, given in (("q", torch.cat([before, told.action_qngf], -1)), ("v", before), ("w", before))
        )
        return Values(q_g, v_g, nn.functional.softplus(w_g), self._net["b"](told.state_qnf)[..., 0])

    def _z(self, values: Values) -> Tensor:
        """The policy's log-weight, w / alpha (Q - V), clipped; only V carries a gradient."""
        return (values.w_g.detach() / self._alpha * (values.q_g.detach() - values.v_g)).clamp(-_CLIP, _CLIP)

    def _loss(self, values: Values, reward_bt: Tensor, there_btg: Tensor) -> Tensor:
        error_bt = self._targets(values, reward_bt, there_btg) - values.total(values.q_g, there_btg)
        value_btg = self._z(values).exp() + values.w_g.detach() / self._alpha * values.v_g
        return error_bt[there_btg.any(-1)].square().mean() + value_btg[there_btg].mean()

    def _targets(self, values: Values, reward_bt: Tensor, there_btg: Tensor) -> Tensor:
        """The reward and gamma V_tot of the next turn; a turn that nobody takes is worth nothing."""
        total_bt = values.total(values.v_g, there_btg).detach() * there_btg.any(-1)
        next_bt = torch.cat([total_bt[:, 1:], torch.zeros_like(total_bt[:, :1])], 1)
        return reward_bt + self._gamma * next_bt


def joint_reward(games: JointGames, disagreement: float) -> Tensor:
    """Sum of the utilities less disagreement * groups * share of the pairs of groups that differ, [q, n, t]."""
    there = games.there_qntg
    count = there.sum(-1)
    named = there & (games.answer_qntg != UNNAMED)
    same_qntgh = (
        (games.answer_qntg[..., None] == games.answer_qntg[..., None, :]) & named[..., None] & named[..., None, :]
    )
    same = same_qntgh.sum((-1, -2)) - named.sum(-1)
    differ = 1 - same / (count * (count - 1)).clamp(min=1)
    return (games.utility_qntg * there).sum(-1) - disagreement * count * differ * (count > 1)


def _told(games: JointGames) -> Features:
    """Features of every turn, games before turns: [b, t, ...]."""
    values = (games.utility_qntg, games.truth_qntg, games.answer_qntg, games.length_qntg, games.there_qntg)
    turns = [Turn(*(each[:, :, t] for each in values)) for t in range(games.there_qntg.shape[2])]
    said = [features(now, last, turns[0], games.objective_q) for last, now in zip([None, *turns], turns, strict=False)]
    return Features(*(torch.stack(each, 2).flatten(0, 1) for each in zip(*said, strict=True)))


def _mlp(inputs: int, hidden: int) -> nn.Module:
    return nn.Sequential(
        *(nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, 1))
    )
