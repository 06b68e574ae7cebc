"""A sentence about the person behind the system message."""

from __future__ import annotations

from dataclasses import dataclass

from trialign_ray.envs.cues.base import Draft, Messages, message


@dataclass(frozen=True, slots=True)
class Persona:
    """System message, persona and wish in one; then the question."""

    def __call__(self, draft: Draft, /) -> Messages:
        """As `trialign_ray.envs.cues.base.Cue` says."""
        return [message("system", *draft.system, *draft.wish), message("user", draft.question.text)]
