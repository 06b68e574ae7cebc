"""What a plan says follows from the configuration; it reads neither weights nor, where sizes are given, logs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tests.tiny import tiny_config
from tests.world import World
from trialign_ray.cli.app import app
from trialign_ray.config.train import TrainSpec
from trialign_ray.data.dataset import longest_tokens, open_dataset
from trialign_ray.entrypoints.plan import PROCESS, MemoryPlan, assumed_step, logged_step, longest_pair, plan
from trialign_ray.io.run_folder import RunFolder
from trialign_ray.trainer.local import LocalTraining
from trialign_ray.trainer.packing import tree_nodes
from trialign_ray.trainer.resolve import resolve

GIB = 2**30
SIZES = ["--groups", "3", "--prompt-tokens", "30", "--response-tokens", "8"]


@pytest.fixture
def shape(tmp_path: Path) -> Path:
    """A model's folder without weights and tokenizer."""
    tiny_config().save_pretrained(str(tmp_path / "shape"))
    return tmp_path / "shape"


def made(shape: Path, available: int | None = 4 * GIB, **changes: Any) -> MemoryPlan:
    fields: dict[str, Any] = {"name": "x", "model": str(shape), "logs": "none", "lora": {"rank": 4}}
    learner = {"dtype": "float32", "workers": 2} | changes
    spec = TrainSpec.model_validate(fields | {"learner": learner})
    return plan(spec, assumed_step(spec, groups=3, prompt_tokens=30, response_tokens=8), available)


def test_a_step_of_given_lengths_has_as_many_tokens(shape: Path) -> None:
    found = made(shape)
    assert found.tokens_per_step == 4 * 3 * (30 + 9 * 7)  # a response's last token is not a slot
    assert found.total == found.process + found.weights + found.optimizer + found.activations


def test_a_model_that_is_not_packed_repeats_the_prompt_in_each_row(shape: Path) -> None:
    packed, apart = made(shape), made(shape, attention={"name": "apart"})
    assert apart.tokens_per_step == 4 * 3 * 9 * (30 + 7)
    assert apart.tokens_per_pass > packed.tokens_per_pass


def test_zero_splits_the_optimizer_and_its_third_stage_the_weights(shape: Path) -> None:
    one, two, third = made(shape, workers=1), made(shape), made(shape, zero_stage=3)
    assert two.optimizer < one.optimizer
    assert (two.weights, third.weights) == (
        one.weights,
        one.weights // 2 + one.weights,
    )  # a small model is gathered whole


def test_a_container_on_a_larger_host_has_what_the_container_has(shape: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("psutil.virtual_memory", lambda: type("Free", (), {"available": 64 * GIB}))
    monkeypatch.setattr("trialign_ray.trainer.memory._cgroup_free", lambda: 8.0 * GIB)
    assert made(shape, None).available == 4 * GIB


def test_a_budget_bounds_the_largest_pass(shape: Path) -> None:
    whole, small = made(shape), made(shape, tokens_per_pass=200)
    assert whole.passes == 1
    assert small.passes == 3
    assert small.tokens_per_pass <= 200 < whole.tokens_per_pass
    assert small.activations < whole.activations


def test_activations_do_not_grow_with_the_questions_of_a_step(shape: Path) -> None:
    fields: dict[str, Any] = {"name": "x", "model": str(shape), "logs": "none", "learner": {"tokens_per_pass": 200}}
    plans = []
    for questions in (4, 16):
        spec = TrainSpec.model_validate(fields | {"questions_per_step": questions})
        plans.append(plan(spec, assumed_step(spec, 3, 30, 8), GIB))
    assert plans[0].activations == plans[1].activations
    assert plans[1].passes > plans[0].passes


@pytest.mark.parametrize(
    ("changes", "available", "words"),
    [
        ({}, 1 << 20, ["zero_stage: 3", "bfloat16", "more than 2 workers"]),
        ({"tokens_per_pass": 10**6}, PROCESS["cpu"] + (1 << 20), ["lower 'learner.tokens_per_pass' to "]),
        (
            {},
            PROCESS["cpu"] + (1 << 20),
            ["one response", "activation_checkpointing: selective", "activation_checkpointing: true"],
        ),
    ],
)
def test_what_does_not_fit_is_told_with_what_to_change(
    shape: Path, changes: dict[str, Any], available: int, words: list[str]
) -> None:
    found = made(shape, available, **changes)
    assert found.total > available
    assert all(word in line for word, line in zip(words, found.advice, strict=True))


def test_the_budget_that_is_advised_fits(shape: Path) -> None:
    available = PROCESS["cpu"] + (2 << 20)
    (line,) = made(shape, available, tokens_per_pass=10**6).advice
    advised = int(line.split(" to ")[1].split(",")[0])
    assert made(shape, available, tokens_per_pass=advised).advice == ()


def test_all_weights_take_their_gradient_and_optimizer_states_which_may_lie_elsewhere(shape: Path) -> None:
    fields: dict[str, Any] = {"name": "x", "model": str(shape), "logs": "none", "adapter": "full"}
    learner = {"gpu": True, "workers": 4, "dtype": "bfloat16"}
    plans = []
    for offload in (False, True):
        spec = TrainSpec.model_validate(fields | {"learner": learner | {"offload_optimizer": offload}})
        plans.append(plan(spec, assumed_step(spec, 3, 30, 8), GIB))
    here, away = plans
    count = here.weights // 2
    assert (here.optimizer, here.offloaded) == (2 * count + 4 * count, 0)
    assert (away.optimizer, away.offloaded) == (2 * count, 4 * count)


def test_the_step_of_the_logs_is_that_of_the_run(world: World) -> None:
    spec = world.train_spec("planned", learner={"workers": 1, "dtype": "float32", "tokens_per_pass": 60})
    step = logged_step(spec)
    passes = {result.passes for result in LocalTraining.of(resolve(spec, RunFolder.of(spec))).steps()}
    assert plan(spec, step, GIB).passes in passes
    assert sum(map(tree_nodes, step.trees)) > 60
    assert step.object_store > 0


@pytest.mark.parametrize("borrowed", [0, 3])
def test_no_step_of_the_logs_has_more_tokens_than_one_of_their_longest_rows(world: World, borrowed: int) -> None:
    spec = world.train_spec("bounded", candidates={"own": 3, "borrowed": borrowed}, learner={"workers": 1})
    logged, data = logged_step(spec), open_dataset(spec.logs)
    bound = assumed_step(spec, len(data.manifest.names), *longest_pair(spec, longest_tokens(data)))
    assert 0 < sum(map(tree_nodes, logged.trees)) <= sum(map(tree_nodes, bound.trees))
    assert 0 < plan(spec, logged, GIB).activations <= plan(spec, bound, GIB).activations


def command(shape: Path, *arguments: str) -> Any:
    file = shape.parent / "spec.yaml"
    file.write_text(f"name: x\nmodel: {shape}\nlogs: none\nlearner: {{workers: 2}}\n")
    return CliRunner().invoke(app, ["plan", str(file), *arguments])


def test_the_command_prints_the_plan_and_its_status_says_whether_it_fits(shape: Path) -> None:
    fits, not_ = command(shape, *SIZES, "--memory", "4", "--json"), command(shape, *SIZES, "--memory", "0.5")
    assert fits.exit_code == 0
    assert json.loads(fits.stdout)["available"] == 4 * GIB
    assert not_.exit_code == 1
    assert "does not fit: set 'learner.zero_stage: 3'" in not_.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--groups", "3"], "give all three, or none"),
        ([], "field 'logs'"),
        ([*SIZES, "--set", "model=nowhere"], "field 'model'"),
        ([*SIZES, "--set", "learner.gpu=true"], "--memory 80"),
    ],
)
def test_what_cannot_be_planned_is_named(shape: Path, arguments: list[str], words: str) -> None:
    refused = command(shape, *arguments)
    assert refused.exit_code > 1
    assert words in refused.output
