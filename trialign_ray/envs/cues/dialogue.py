"""Earlier turns of the same dialogue."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from trialign_ray.config.cues import Exchange
from trialign_ray.envs.cues.base import Draft, Messages, message


@dataclass(frozen=True, slots=True)
class Dialogue:
    """The turns stand between the system message and the question."""

    turns: Sequence[Exchange]

    def __call__(self, draft: Draft, /) -> Messages:
        """As `trialign_ray.envs.cues.base.Cue` says."""
        earlier = [(message("user", turn.user), message("assistant", turn.assistant)) for turn in self.turns]
        return [
            message("system", *draft.system, *draft.wish),
            *(said for turn in earlier for said in turn),
            message("user", draft.question.text),
        ]
