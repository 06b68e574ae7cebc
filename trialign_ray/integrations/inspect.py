"""The audit as a task of Inspect (https://inspect.aisi.org.uk), for any model that Inspect can ask.

    inspect eval trialign_ray/truth_invariance --model NAME -T questions=questions.yaml -T groups=groups.yaml

Accuracy and naming are shown by group; beside them stand the figures over all groups, by the names of `--fail-if`.
Its logs are read by `trialign audit --answers LOG.eval`, which gives the whole report, with intervals.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from inspect_ai import Task, task
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.model import (
    ChatMessage,
    ChatMessageAssistant,
    ChatMessageSystem,
    ChatMessageUser,
    GenerateConfig,
)
from inspect_ai.scorer import Metric, SampleScore, Score, Scorer, Target, grouped, mean, metric, scorer
from inspect_ai.solver import TaskState, generate

from trialign_ray.config.base import load_yaml
from trialign_ray.config.game import GroupSet, QuestionSet, Split, asked_questions
from trialign_ray.envs.prompts import Messages
from trialign_ray.envs.talk import Ask, Recorder, first_asks
from trialign_ray.errors import require
from trialign_ray.evaluation.report.report import audit_report
from trialign_ray.evaluation.stats.intervals import Bootstrap

_MESSAGE = {"system": ChatMessageSystem, "user": ChatMessageUser, "assistant": ChatMessageAssistant}
_RESAMPLES = 100
"""Inspect shows measured values alone; the report of the log has intervals."""


@dataclass(frozen=True, slots=True)
class _Game:
    """What is asked, by the id of its sample."""

    questions: QuestionSet
    groups: GroupSet
    asks: dict[str, Ask]


@task
def truth_invariance(
    questions: str,
    groups: str,
    split: Split | Literal["all"] = "heldout",
    samples: int = 1,
    max_tokens: int = 512,
) -> Task:
    """Every objective question of a split, asked as every group.

    questions, groups: paths of a question set and a group set. samples: answers to each prompt; several tell a group's
    disagreement with itself from that of groups (Inspect's own epochs average them away). How an answer is drawn is
    Inspect's own setting, such as --temperature. Raises SpecError and DataError.
    """
    require("report", "moocore")
    game = _game(questions, groups, split, samples)
    return Task(
        dataset=MemoryDataset([_sample(name, ask) for name, ask in game.asks.items()], name="truth_invariance"),
        solver=generate(),
        scorer=_truth(game),
        config=GenerateConfig(max_tokens=max_tokens),
        metadata={"questions": questions, "groups": groups, "split": split},
    )


def _game(questions: str, groups: str, split: Split | Literal["all"], samples: int) -> _Game:
    question_set, group_set = load_yaml(QuestionSet, questions), load_yaml(GroupSet, groups)
    asked = [each for each in asked_questions(question_set, split, questions) if each.kind == "objective"]
    asks = first_asks(asked, group_set, samples, 0)
    return _Game(question_set, group_set, {ask.key.custom_id: ask for ask in asks})


def _sample(name: str, ask: Ask) -> Sample:
    return Sample(
        id=name,
        input=_chat(ask.messages),
        target=list(ask.question.references),
        metadata={"question_id": ask.question.question_id, "group": ask.group.name, "topic": ask.question.topic},
    )


def _chat(messages: Messages) -> list[ChatMessage]:
    return [_MESSAGE[message["role"]](content=message["content"]) for message in messages]


def _truth(game: _Game) -> Scorer:
    """1 where the answer is right, and where one is named."""
    recorder = Recorder(game.questions, game.groups)

    @scorer(
        name="truth",
        metrics={"correct": [grouped(mean(), "group"), _invariance(game)], "named": [grouped(mean(), "group")]},
    )
    def truth() -> Scorer:
        async def score(state: TaskState, target: Target) -> Score:
            text = state.output.completion
            row = recorder.row(game.asks[str(state.sample_id)], text)
            correct = float(str(row["reward_truth"]))
            named = float(correct == 1 or row["answer_kind"] == "entity")
            answer = None if row["answer"] is None else str(row["answer"])
            return Score(
                value={"correct": correct, "named": named},
                answer=answer,
                explanation=text,
                metadata={"read_as": row["answer_kind"], "accepted": target.text},
            )

        return score

    return truth()


def _invariance(game: _Game) -> Metric:
    """Figures over all groups, computed as an audit computes them."""
    recorder = Recorder(game.questions, game.groups)

    @metric(name="invariance")
    def invariance() -> Metric:
        def figures(scores: list[SampleScore]) -> dict[str, float]:
            if missing := len(game.asks) - len(scores):
                return {"unanswered": missing}  # under way, or --limit: groups are compared on the same questions only
            asks = [game.asks[str(each.sample_id)] for each in scores]
            table = recorder.table(asks, [each.score.explanation or "" for each in scores])
            found = audit_report(table, game.groups.names, {}, Bootstrap(_RESAMPLES)).audit.flat()
            return {name: figure.value for name, figure in found.items() if figure is not None and "." not in name}

        return figures

    return invariance()
