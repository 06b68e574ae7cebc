"""A list of what is known of the person."""

from __future__ import annotations

from dataclasses import dataclass

from trialign_ray.envs.cues.base import Draft, Messages, message


@dataclass(frozen=True, slots=True)
class Profile:
    """What is known, one a line, and the wish among them: who deletes the profile deletes the wish."""

    known: dict[str, str]

    def __call__(self, draft: Draft, /) -> Messages:
        """As `trialign_ray.envs.cues.base.Cue` says."""
        lines = [f"- {name}: {value}" for name, value in self.known.items()]
        lines += [f"- Note: {wish}" for wish in draft.wish]
        system = message("system", " ".join(draft.system), "\n".join(["The user's profile:", *lines]), by="\n\n")
        return [system, message("user", draft.question.text)]
