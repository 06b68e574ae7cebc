"""What a reference arm is: other prompts for an untrained model, which may take calls of their own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

from trialign_ray.config.game import Group, GroupSet, Question
from trialign_ray.envs.prompts import first_turn
from trialign_ray.envs.rows import response_seed
from trialign_ray.envs.talk import Ask, Speaker


class Reference(Protocol):
    """Makes the prompts whose answers are served; earlier calls go through `speaker`, which counts them."""

    def __call__(self, groups: GroupSet, questions: Sequence[Question], speaker: Speaker, /) -> list[Ask]:
        """One prompt of every group for every question, groups innermost, each under the group's own name and wish."""


def asks_of(groups: GroupSet, questions: Sequence[Question]) -> list[Ask]:
    """The deployment prompts; unlike those of an audit, two groups may be asked in the same words."""
    return [ask_of(groups, group, question) for question in questions for group in groups.groups]


def ask_of(groups: GroupSet, group: Group, question: Question) -> Ask:
    """The deployment prompt of one group."""
    seed = response_seed(0, question.question_id, group.name, 0, 1, bits=31)
    return Ask(question, group, 0, 1, first_turn(groups, group, question), seed)


def served(asks: Sequence[Ask], groups: GroupSet) -> list[Ask]:
    """`asks` under the groups as `groups` has them: the wish that counts is that of the real person."""
    by_name = {group.name: group for group in groups.groups}
    return [replace(ask, group=by_name[ask.group.name]) for ask in asks]
