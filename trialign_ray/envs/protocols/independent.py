"""One turn: nobody is told anything. The deployment prompt, sampled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from trialign_ray.envs.protocols.base import Said, Shown
from trialign_ray.errors import SpecError


@dataclass(frozen=True, slots=True)
class Independent:
    """Has no later turn."""

    elsewhere: bool = False

    def __call__(self, question: str, group: str, said: Mapping[str, Said], /) -> Shown:  # noqa: ARG002
        """Raises SpecError: a game of this protocol ends after its first turn."""
        raise SpecError("protocol 'independent' has one turn. Set turns to 1, or choose another protocol.")
