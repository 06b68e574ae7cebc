"""The person's life in prose."""

from __future__ import annotations

from dataclasses import dataclass

from trialign_ray.envs.cues.base import Draft, Messages, message


@dataclass(frozen=True, slots=True)
class Biography:
    """The text, and the wish as its last sentence."""

    text: str

    def __call__(self, draft: Draft, /) -> Messages:
        """As `trialign_ray.envs.cues.base.Cue` says."""
        about = " ".join(["About the user:", self.text, *draft.wish])
        system = message("system", " ".join(draft.system), about, by="\n\n")
        return [system, message("user", draft.question.text)]
