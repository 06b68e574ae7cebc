"""The profile is deleted and the wish kept: who asks cannot matter, what it costs is all that a profile is good for."""

from __future__ import annotations

from collections.abc import Sequence

from trialign_ray.config.cues import PersonaCue
from trialign_ray.config.game import GroupSet, Question
from trialign_ray.envs.references.base import asks_of, served
from trialign_ray.envs.talk import Ask, Speaker


def persona_deleted(groups: GroupSet, questions: Sequence[Question], speaker: Speaker) -> list[Ask]:  # noqa: ARG001
    """A `Reference`. The wish is drawn by the group's name, so it is that of the whole profile."""
    without = tuple(group.model_copy(update={"persona": "", "cue": PersonaCue()}) for group in groups.groups)
    return served(asks_of(groups.model_copy(update={"groups": without}), questions), groups)
