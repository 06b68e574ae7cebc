"""The peers' answers are shown, and the agent answers once more in its own way."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from trialign_ray.envs.protocols.base import Said, Shown, listed, others


@dataclass(frozen=True, slots=True)
class Cooperative:
    """Shows each agent its peers' responses of the turn before."""

    elsewhere: bool = False

    def __call__(self, question: str, group: str, said: Mapping[str, Said], /) -> Shown:
        """As `TurnProtocol` says."""
        peers = others(group, said)
        request = (
            f"Other answers to the same question were:\n{listed(peers)}\nNow give your final answer to: {question}"
        )
        return Shown(request, peers)
