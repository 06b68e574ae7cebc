"""Several system messages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from trialign_ray.envs.cues.base import Draft, Messages, message


@dataclass(frozen=True, slots=True)
class System:
    """One system message each, and the wish in the last."""

    messages: Sequence[str]

    def __call__(self, draft: Draft, /) -> Messages:
        """As `trialign_ray.envs.cues.base.Cue` says."""
        *earlier, last = self.messages
        return [
            message("system", *draft.system),
            *(message("system", text) for text in earlier),
            message("system", last, *draft.wish),
            message("user", draft.question.text),
        ]
