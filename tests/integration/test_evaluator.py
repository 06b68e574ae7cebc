"""What a worker raises on purpose comes back as itself, not as the loss of a worker, which would be tried again."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.world import World
from trialign_ray.config.game import load_game
from trialign_ray.config.generators import TransformersSpec
from trialign_ray.config.seams import ImportedSpec
from trialign_ray.errors import ModelError, SpecError, TrialignError
from trialign_ray.evaluation.evaluator import EvaluationTask, evaluate
from trialign_ray.inference.base import Sampling

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("local_ray")]
WORKER = {"CPU": 0.5}


def task_of(world: World) -> EvaluationTask:
    questions, groups = load_game(world.questions, world.groups)
    return EvaluationTask(world.model, None, questions, groups, Sampling(2), "float32", TransformersSpec())


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"generator": ImportedSpec(import_path="nowhere:Engine")}, SpecError, "import_path 'nowhere:Engine'"),
        ({"model": "/nowhere"}, ModelError, "/nowhere"),
    ],
)
def test_faults_of_the_task_are_raised_as_themselves(
    changes: dict[str, object], error: type[TrialignError], message: str, world: World
) -> None:
    task = task_of(world)
    with pytest.raises(error, match=message):
        evaluate(replace(task, **changes), task.questions.questions[:1], 1, WORKER)  # type: ignore[arg-type]


def test_answers_are_in_the_order_of_the_questions_whoever_answers_first(world: World) -> None:
    task = replace(task_of(world), questions_per_batch=1)
    asked = task.questions.questions
    table = evaluate(task, asked, 2, WORKER)
    found = list(dict.fromkeys(table["question_id"].to_pylist()))
    assert found == [question.question_id for question in asked]
    assert table.num_rows == len(asked) * len(task.groups.names)
