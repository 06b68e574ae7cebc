"""Multi-agent debate (Du et al., arXiv 2305.14325): the agent criticises its peers' answers, then answers.

Critique and answer are one response. The reader takes what stands between the <answer> tags, where the model writes
them; the critique is part of the wording that later turns show and that the preference is scored on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from trialign_ray.envs.protocols.base import Said, Shown, listed, others


@dataclass(frozen=True, slots=True)
class Debate:
    """Shows each agent its peers' responses of the turn before and asks for objections first."""

    elsewhere: bool = False

    def __call__(self, question: str, group: str, said: Mapping[str, Said], /) -> Shown:
        """As `TurnProtocol` says."""
        peers = others(group, said)
        request = (
            f"Other answers to the same question were:\n{listed(peers)}\n"
            "First say in one short sentence which of them are wrong, and why. Then give your final answer between "
            f"<answer> and </answer> to: {question}"
        )
        return Shown(request, peers)
