"""The audit as other evaluation harnesses run it: they ask every prompt, and figures come of all responses together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Self

from trialign_ray.config.game import GroupSet, Split, asked_questions, load_game
from trialign_ray.envs.talk import Ask, Recorder, first_asks
from trialign_ray.evaluation.figures import MaybeFigure
from trialign_ray.evaluation.report.report import audit_report
from trialign_ray.evaluation.stats.intervals import Bootstrap
from trialign_ray.rewards.verifiers import Reasoning

_RESAMPLES = 100
"""Harnesses show measured values alone; `trialign audit` of their logs gives intervals."""


@dataclass(frozen=True, slots=True)
class HarnessGame:
    """What is asked, by the id that a harness has for it."""

    groups: GroupSet
    asks: Mapping[str, Ask]
    recorder: Recorder
    reasoning: Reasoning

    @classmethod
    def load(cls, questions: str, groups: str, split: Split | Literal["all"], samples: int = 1) -> Self:
        """Every objective question of the split, asked as every group; from files. Raises SpecError and DataError."""
        question_set, group_set = load_game(questions, groups)
        asked = [each for each in asked_questions(question_set, split, questions) if each.kind == "objective"]
        asks = {ask.key.custom_id: ask for ask in first_asks(asked, group_set, samples, 0)}
        return cls(group_set, asks, Recorder(question_set, group_set), Reasoning.of(question_set))

    def missing(self, responses: Mapping[str, str]) -> int:
        """How many prompts have no response; groups are compared on the same questions, so no figure is there then."""
        return len(self.asks) - len(responses)

    def figures(self, responses: Mapping[str, str]) -> dict[str, MaybeFigure]:
        """Figures over all responses by name, as an audit has them. responses: id -> text, of all prompts."""
        table = self.recorder.table([self.asks[each] for each in responses], list(responses.values()))
        report = audit_report(table, self.groups.names, {}, Bootstrap(_RESAMPLES), reasoning=self.reasoning)
        return report.audit.flat()
