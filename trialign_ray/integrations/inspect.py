"""The audit as a task of Inspect (https://inspect.aisi.org.uk), for any model that Inspect can ask.

    inspect eval trialign_ray/truth_invariance --model NAME -T questions=questions.yaml -T groups=groups.yaml

Accuracy and naming are shown by group; beside them stand the figures over all groups, by the names of `--fail-if`.
Its logs are read by `trialign audit --answers LOG.eval`, which gives the whole report, with intervals.
"""

from __future__ import annotations

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

from trialign_ray.config.game import Split
from trialign_ray.envs.prompts import Messages
from trialign_ray.envs.talk import Ask
from trialign_ray.errors import require
from trialign_ray.integrations.game import HarnessGame

_MESSAGE = {"system": ChatMessageSystem, "user": ChatMessageUser, "assistant": ChatMessageAssistant}


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
    game = HarnessGame.load(questions, groups, split, samples)
    return Task(
        dataset=MemoryDataset([_sample(name, ask) for name, ask in game.asks.items()], name="truth_invariance"),
        solver=generate(),
        scorer=_truth(game),
        config=GenerateConfig(max_tokens=max_tokens),
        metadata={"questions": questions, "groups": groups, "split": split},
    )


def _sample(name: str, ask: Ask) -> Sample:
    return Sample(
        id=name,
        input=_chat(ask.messages),
        target=list(ask.question.references),
        metadata={"question_id": ask.question.question_id, "group": ask.group.name, "topic": ask.question.topic},
    )


def _chat(messages: Messages) -> list[ChatMessage]:
    return [_MESSAGE[message["role"]](content=message["content"]) for message in messages]


def _truth(game: HarnessGame) -> Scorer:
    """1 where the answer is right, and where one is named."""

    @scorer(
        name="truth",
        metrics={"correct": [grouped(mean(), "group"), _invariance(game)], "named": [grouped(mean(), "group")]},
    )
    def truth() -> Scorer:
        async def score(state: TaskState, target: Target) -> Score:
            text = state.output.completion
            row = game.recorder.row(game.asks[str(state.sample_id)], text)
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


def _invariance(game: HarnessGame) -> Metric:
    """Figures over all groups, computed as an audit computes them."""

    @metric(name="invariance")
    def invariance() -> Metric:
        def figures(scores: list[SampleScore]) -> dict[str, float]:
            responses = {str(each.sample_id): each.score.explanation or "" for each in scores}
            if missing := game.missing(responses):
                return {"unanswered": missing}  # under way, or --limit
            return {
                name: figure.value
                for name, figure in game.figures(responses).items()
                if figure is not None and "." not in name
            }

        return figures

    return invariance()
