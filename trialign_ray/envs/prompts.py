"""What an agent sees in turn 1: its own persona and preference, and the question."""

from __future__ import annotations

import json
import re
from collections.abc import Hashable, Iterable, Mapping

from trialign_ray.config.cues import CUE_KINDS, ImportedCue
from trialign_ray.config.game import Group, GroupSet, Question, lettered
from trialign_ray.config.seams import build
from trialign_ray.envs.cues.base import Cue, Draft, Messages
from trialign_ray.errors import DataError
from trialign_ray.rewards.trust import require_trusted

__all__ = ["Messages", "first_turn", "first_turns", "refuse_equal", "refuse_equal_prompts"]


def first_turn(groups: GroupSet, group: Group, question: Question) -> Messages:
    """The deployment prompt, put together by the group's cue: who asks, the wish, the question; no peers.

    Options of a choice stand lettered below the question, unless its text has them.
    Raises DataError where the question lacks what the cue needs, and SpecError for an imported cue that is not trusted
    or cannot be imported.
    """
    drawn = groups.preference_for(group, question.question_id, question.topic)
    wish = () if drawn is None else (drawn[0].explicit if drawn[1] == "explicit" else drawn[0].implicit,)
    persona = (group.persona,) if group.persona else ()
    if isinstance(group.cue, ImportedCue):
        require_trusted(group.cue.import_path)
    cue: Cue = build(CUE_KINDS, group.cue, "kind")
    asked = question.model_copy(update={"text": _with_options(question)})
    return cue(Draft(group.name, (groups.system, *persona), wish, asked))


def _with_options(question: Question) -> str:
    lines = lettered(question.options)
    named = all(re.search(rf"(?<!\w){re.escape(option)}(?!\w)", question.text) for option in question.options)
    listed = all(re.search(rf"^\W*{line[0]}[.):]", question.text, re.MULTILINE) for line in lines)
    if question.verifier != "choice" or named or listed:
        return question.text
    return "\n".join([question.text, *lines])


def first_turns(groups: GroupSet, question: Question) -> dict[str, Messages]:
    """Group -> its deployment prompt; raises DataError where two groups would ask the question in the same words."""
    asked = {group.name: first_turn(groups, group, question) for group in groups.groups}
    words = {name: json.dumps(messages) for name, messages in asked.items()}
    refuse_equal(question, words, "Tell the two apart in the group set, or leave one out.")
    return asked


def refuse_equal_prompts(groups: GroupSet, questions: Iterable[Question]) -> None:
    """Raise DataError where two groups would ask a question in the same words."""
    for question in questions:
        first_turns(groups, question)


def refuse_equal(question: Question, prompts: Mapping[str, Hashable], fix: str) -> None:
    """Raise DataError, which ends with `fix`, where two groups have one prompt. prompts: group -> its prompt."""
    first: dict[Hashable, str] = {}
    for group, prompt in prompts.items():
        other = first.setdefault(prompt, group)
        if other != group:
            raise DataError(
                f"question '{question.question_id}': groups '{other}' and '{group}' get the same prompt, so their "
                f"answers could not differ by who asks. {fix}"
            )
