"""Nothing but a name."""

from __future__ import annotations

from dataclasses import dataclass

from trialign_ray.envs.cues.base import Draft, Messages, message


@dataclass(frozen=True, slots=True)
class Name:
    """The person says it before the question."""

    name: str

    def __call__(self, draft: Draft, /) -> Messages:
        """As `trialign_ray.envs.cues.base.Cue` says."""
        asked = message("user", f"My name is {self.name}.", draft.question.text)
        return [message("system", *draft.system, *draft.wish), asked]
