"""What the person believes, right or wrong."""

from __future__ import annotations

from dataclasses import dataclass

from trialign_ray.envs.cues.base import Draft, Messages, message
from trialign_ray.errors import DataError


@dataclass(frozen=True, slots=True)
class Belief:
    """The person says it before the question; the right answer stays what it is."""

    statement: str
    otherwise: str | None

    def __call__(self, draft: Draft, /) -> Messages:
        """As `trialign_ray.envs.cues.base.Cue` says; a subjective question has no truth to be wrong about."""
        question, said = draft.question, self.statement
        of_taste = question.kind == "subjective" and "{" in said
        no_misbelief = "{misbelief}" in said and not question.misbelief
        if self.otherwise is not None and (of_taste or no_misbelief):
            said = self.otherwise
        elif of_taste:
            return [message("system", *draft.system, *draft.wish), message("user", question.text)]
        elif no_misbelief:
            raise DataError(
                f"question '{question.question_id}': group '{draft.group}' states a belief, but the question has no "
                "'misbelief'. Give it one, give the cue an 'otherwise', or make the set with `trialign bench`."
            )
        said = said.replace("{misbelief}", question.misbelief).replace("{truth}", "".join(question.references[:1]))
        return [message("system", *draft.system, *draft.wish), message("user", said, question.text)]
