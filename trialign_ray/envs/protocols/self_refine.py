"""A second look at one's own answer (Self-Refine, arXiv 2303.17651), feedback and refinement in one response.

The arm that tells what more turns alone are worth: no other group is shown.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from trialign_ray.envs.protocols.base import Said, Shown


@dataclass(frozen=True, slots=True)
class SelfRefine:
    """Shows the agent its own response and nothing else."""

    elsewhere: bool = False

    def __call__(self, question: str, group: str, said: Mapping[str, Said], /) -> Shown:  # noqa: ARG002
        """As `TurnProtocol` says."""
        return Shown(f"Check your answer for mistakes and improve it.\nNow give your final answer to: {question}")
