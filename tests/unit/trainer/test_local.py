"""Training in this process is the plain torch loop over the run's own batches, and its adapter is saved as PEFT's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch

from tests.plain import plain_train
from tests.world import World
from trialign_ray.actors.replay_buffer import RolloutBuffer
from trialign_ray.data.batch import GroupBatch
from trialign_ray.data.dataset import read_logs, write_logs
from trialign_ray.data.schema import SCHEMA
from trialign_ray.io.run_folder import RunFolder
from trialign_ray.models.loading import load_adapted, load_model
from trialign_ray.trainer.local import LocalTraining
from trialign_ray.trainer.policy import adapt
from trialign_ray.trainer.resolve import ResolvedRun, resolve


@pytest.fixture(params=["float32", "bfloat16"])
def run(world: World, request: pytest.FixtureRequest) -> ResolvedRun:
    """Three epochs with a KL, so that the reference log-probs of the first are those of the others, and facts."""
    spec = world.train_spec(
        "here",
        algorithm={"kl": 0.05, "facts": {}},
        candidates={"answers": 4},
        learner={"workers": 1, "dtype": request.param},
    )
    return resolve(spec, RunFolder.of(spec))


def resolved(world: World, name: str, **changes: Any) -> ResolvedRun:
    spec = world.train_spec(name, **changes)
    return resolve(spec, RunFolder.of(spec))


def batches(run: ResolvedRun) -> list[list[GroupBatch]]:
    buffers = [RolloutBuffer(each) for each in run.buffers()]
    steps = range(run.plan.derived.steps)
    return [[buffer.batch(run.plan.sampler.of_step(step)) for buffer in buffers] for step in steps]


def test_losses_and_adapter_are_those_of_the_plain_loop(run: ResolvedRun):
    spec, training = run.spec, LocalTraining.of(run)
    found = [float(result.outputs.loss.detach()) for result in training.steps()]
    policy = adapt(load_model(run.model, spec.learner.dtype, "eager"), spec.lora, spec.learner, spec.seed)
    steps = run.plan.derived.steps
    expected, adapter = plain_train(policy, spec.algorithm, spec.optimizer, batches(run), steps)
    assert run.plan.derived.warmup_steps == 1
    assert found == pytest.approx(expected, abs=1e-6)
    torch.testing.assert_close([each.detach() for each in training.policy.trainable()], adapter, atol=1e-6, rtol=0)


def test_what_one_group_knows_reaches_the_others(world: World):
    learner = {"workers": 1, "dtype": "float32"}
    run = resolved(world, "spread", epochs=20, learner=learner)
    right_sg = torch.stack([result.outputs.mass_right_g for result in LocalTraining.of(run).steps()])
    assert run.plan.groups == ("neutral", "farmer", "professor")
    risen_g = right_sg[-4:].mean(0) - right_sg[:4].mean(0)
    assert min(risen_g[0], risen_g[2]) > 0.1, "only the farmer's logs have right answers"


def test_answers_compete_in_every_step(run: ResolvedRun):
    facts = [result.outputs.facts for result in LocalTraining.of(run).steps()]
    assert all(found is not None and found.right_short_g.isfinite().all() for found in facts)


@pytest.mark.parametrize("policy", ["shared", "per_group"])
def test_a_step_in_passes_is_the_step_in_one(world: World, policy: str):
    """Reference, answers and candidates pass by pass; passes hold parts of trees."""
    changes = {"policy": policy, "algorithm": {"kl": 0.05, "facts": {}}, "candidates": {"answers": 4}}
    learner = {"workers": 1, "dtype": "float32"}
    whole = resolved(world, "whole", learner=learner, **changes)
    small = resolved(world, "small", learner={**learner, "tokens_per_pass": 50}, **changes)
    one, several = LocalTraining.of(whole), LocalTraining.of(small)
    expected, found = list(one.steps()), list(several.steps())
    assert {result.passes for result in expected} == {1}
    assert all(result.passes > 2 for result in found)
    losses = [[float(result.outputs.loss.detach()) for result in results] for results in (expected, found)]
    assert losses[1] == pytest.approx(losses[0], abs=1e-5)
    weights = [[each.detach() for each in training.policy.trainable()] for training in (one, several)]
    torch.testing.assert_close(weights[1], weights[0], atol=2e-4, rtol=0)


def test_logs_that_lack_groups_train(world: World, tmp_path: Path):
    """Each group but the first lacks another question: losses are those of the plain loop."""
    rows = read_logs(world.logs).to_pylist()
    lacking = {("farmer", "0-france"), ("professor", "1-peru")}
    kept = [row for row in rows if (row["group"], row["question_id"]) not in lacking]
    assert len(kept) < len(rows)
    write_logs(pa.Table.from_pylist(kept, schema=SCHEMA), tmp_path / "logs", ("neutral", "farmer", "professor"))
    spec = world.train_spec("lacking", logs=str(tmp_path / "logs"), learner={"workers": 1, "dtype": "float32"})
    run = resolve(spec, RunFolder.of(spec))
    assert run.plan.empty == 2
    found = [float(result.outputs.loss.detach()) for result in LocalTraining.of(run).steps()]
    policy = adapt(load_model(run.model, "float32", "eager"), spec.lora, spec.learner, spec.seed)
    expected, _ = plain_train(policy, spec.algorithm, spec.optimizer, batches(run), run.plan.derived.steps)
    assert found == pytest.approx(expected, abs=1e-6)


def test_the_reference_is_computed_in_the_first_epoch_alone(run: ResolvedRun):
    computed = [result.reference_logp_qgk is not None for result in LocalTraining.of(run).steps()]
    first = len(computed) // 3
    assert computed == [True] * first + [False] * (len(computed) - first)


def test_the_adapter_is_one_that_peft_loads(run: ResolvedRun, tmp_path: Path):
    training = LocalTraining.of(run)
    for _ in training.steps():
        pass
    training.policy.model.save_pretrained(str(tmp_path), safe_serialization=True)
    prompt = torch.tensor([[5, 6, 7]])
    merged, base = load_adapted(run.model, tmp_path, "float32"), load_model(run.model, "float32")
    with torch.no_grad():
        assert not torch.equal(merged(input_ids=prompt).logits, base(input_ids=prompt).logits)
