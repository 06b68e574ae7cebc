"""What the person believes, right or wrong."""

from __future__ import annotations

from dataclasses import dataclass

from trialign_ray.envs.cues.base import Draft, Messages, message
from trialign_ray.errors import DataError


@dataclass(frozen=True, slots=True)
class Belief:
    """The person says it before the question; the right answer stays what it is."""

    statement: str

    def __call__(self, draft: Draft, /) -> Messages:
        """As `trialign_ray.envs.cues.base.Cue` says; a subjective question has no truth to be wrong about."""
        question = draft.question
        said = self.statement
        if question.kind == "subjective" and "{" in said:
            return [message("system", *draft.system, *draft.wish), message("user", question.text)]
        if "{misbelief}" in said and not question.misbelief:
            raise DataError(
                f"question '{question.question_id}': group '{draft.group}' states a belief, but the question has no "
                "'misbelief'. Give it one, leave the question out, or make the set with `trialign bench`."
            )
        said = said.replace("{misbelief}", question.misbelief).replace("{truth}", "".join(question.references[:1]))
        return [message("system", *draft.system, *draft.wish), message("user", said, question.text)]
