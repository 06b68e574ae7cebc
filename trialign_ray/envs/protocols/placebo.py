"""The control of `cooperative`: as many answers of the same peers and the same kind, but to another question.

What this arm gains over `independent` comes from a second turn and a longer prompt; what `cooperative` gains over this
arm comes from what the peers said. The request says truthfully that the answers are to another question.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from trialign_ray.envs.protocols.base import Said, Shown, listed, others


@dataclass(frozen=True, slots=True)
class Placebo:
    """Shows each agent its peers' responses of the turn before in the game of another question."""

    elsewhere: bool = True

    def __call__(self, question: str, group: str, said: Mapping[str, Said], /) -> Shown:
        """As `TurnProtocol` says."""
        peers = others(group, said)
        request = f"Answers to another question were:\n{listed(peers)}\nNow give your final answer to: {question}"
        return Shown(request, peers)
