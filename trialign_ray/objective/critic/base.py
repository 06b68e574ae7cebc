"""What a critic learns from, and what it tells the policy's loss.

Letters: q question, n game (one sample of all groups), t turn, g group, k candidate.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from trialign_ray.objective.candidates import Candidates


@dataclass(frozen=True, slots=True)
class JointGames:
    """What all groups said in every turn of the logged games, as numbers; all but `objective_q` are [q, n, t, g]."""

    utility_qntg: Tensor
    """In [0, 1]."""
    truth_qntg: Tensor
    """1 right, 0 wrong or no truth."""
    answer_qntg: Tensor
    """Integer name of the answer within its question, `candidates.UNNAMED` where none was read."""
    length_qntg: Tensor
    """Tokens."""
    there_qntg: Tensor
    """False where the group said nothing in that turn of that game."""
    objective_q: Tensor
    """True where the question has a known truth."""


class Critic(Protocol):
    """Learns from the logs before the first step, since no part of it depends on the policy; then it is held."""

    def fit(self, games: JointGames) -> None:
        """Learn."""
        ...

    @property
    def explained(self) -> float:
        """Share of the variance of its own targets that it explained at the end of the fit, at most 1; NaN before."""
        ...

    def merit(self, candidates: Candidates) -> Tensor:
        """Log of each candidate's weight over the logged policy's, [q, g, k]: 0 where it is worth as much as any."""
        ...

    def state_dict(self) -> Mapping[str, Tensor]:
        """All that was learnt."""
        ...

    def load_state_dict(self, state: Mapping[str, Tensor], /) -> object:
        """Continue from `state_dict()`."""
        ...
