"""Each group learns in an adapter of its own, on one frozen model and in one backward."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from peft import LoraConfig, get_peft_model
from pydantic import ValidationError
from torch import Tensor, nn

from tests.tiny import tiny_model
from tests.world import World
from trialign_ray.actors.replay_buffer import RolloutBuffer
from trialign_ray.algorithms.compose import compose
from trialign_ray.config.train import LearnerSpec, LoraSpec
from trialign_ray.errors import SpecError
from trialign_ray.io.run_folder import RunFolder
from trialign_ray.models.loading import load_model, load_policy
from trialign_ray.objective.step import first_utilities, step_objective
from trialign_ray.trainer.collate import assemble
from trialign_ray.trainer.engine import adamw, cosine
from trialign_ray.trainer.local import LocalTraining
from trialign_ray.trainer.packing import Tree
from trialign_ray.trainer.policy import Policy, adapt
from trialign_ray.trainer.resolve import ResolvedRun, resolve

GROUPS = ("neutral", "farmer", "professor")
TREES = [
    Tree([1, 2, 3], [[4, 5], [6]], group=2),
    Tree([7], [[8, 9, 3]], group=0),
    Tree([7, 2], [[8], [9, 3], [4]], group=2),
]
LEARNER = LearnerSpec(dtype="float32")


def policy(groups: tuple[str, ...] = GROUPS) -> Policy:
    return adapt(tiny_model(), LoraSpec(rank=4), LEARNER, seed=1, groups=groups)


def of_group(made: Policy, g: int) -> list[Tensor]:
    return [value for name, value in made.model.named_parameters() if f"own{g:04d}" in name]


def moved(made: Policy) -> Policy:
    """Adapters that differ: fresh ones all change nothing."""
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in made.trainable():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return made


@pytest.fixture
def run(world: World) -> ResolvedRun:
    """With a KL, so that the reference is asked for between two steps."""
    spec = world.train_spec("own", policy="per_group", algorithm={"kl": 0.05})
    return resolve(spec, RunFolder.of(spec))


def test_equal_adapters_are_the_shared_one() -> None:
    shared, own = policy(()), policy()
    with torch.no_grad():
        for g in range(len(GROUPS)):
            for ours, theirs in zip(of_group(own, g), shared.trainable(), strict=True):
                assert torch.equal(ours, theirs)
                ours.copy_(theirs + 0.1)
        for theirs in shared.trainable():
            theirs.add_(0.1)
    torch.testing.assert_close(own(TREES), shared(TREES))
    with own.reference(), shared.reference():
        torch.testing.assert_close(own(TREES), shared(TREES))


def test_all_adapters_are_trainable_from_the_start() -> None:
    made = policy()
    assert len(made.trainable()) == len(GROUPS) * len(policy(()).trainable())
    assert all(parameter.requires_grad for parameter in made.trainable())


def test_a_tree_is_scored_and_learnt_by_its_group_s_adapter_alone() -> None:
    made = moved(policy())
    with made.reference():
        made(TREES)
    found = made(TREES)
    alone = [made([tree]) for tree in TREES]
    torch.testing.assert_close(found, torch.cat(alone))
    assert (made([replace(TREES[0], group=1)]) - alone[0]).abs().max() > 1e-3
    found.sum().backward()
    # A gradient of zero, not none: ZeRO waits for the gradients of every parameter on every rank.
    assert all(parameter.grad is not None for parameter in made.trainable())
    assert [any(bool(p.grad.any()) for p in of_group(made, g)) for g in range(3)] == [True, False, True]  # type: ignore[union-attr]


def test_a_step_with_one_group_s_candidates_moves_its_adapter_alone(run: ResolvedRun) -> None:
    training = LocalTraining.of(run)
    before = [[each.detach().clone() for each in of_group(training.policy, g)] for g in range(3)]
    buffers = [RolloutBuffer(each) for each in run.buffers()]
    batch = assemble([buffer.batch(run.plan.sampler.of_step(0)) for buffer in buffers])
    optimizer = adamw(training.policy.trainable(), run.spec.optimizer)
    training.policy([tree for tree in batch.trees if tree.group == 1]).sum().backward()
    optimizer.step()
    changed = [
        any(not torch.equal(old, new) for old, new in zip(before[g], of_group(training.policy, g), strict=True))
        for g in range(3)
    ]
    assert changed == [False, True, False]


def peft_models(run: ResolvedRun) -> list[Any]:
    """A model a group, each with PEFT's own adapter."""
    models = []
    for _ in GROUPS:
        torch.manual_seed(run.spec.seed)
        config = LoraConfig(r=run.spec.lora.rank, lora_alpha=int(run.spec.lora.alpha), target_modules="all-linear")
        models.append(get_peft_model(cast("Any", load_model(run.model, "float32", "eager")), config).eval())
    return models


def logprob(model: nn.Module, tree: Tree) -> Tensor:
    """Log-prob of each response, run by itself, [responses]."""
    found = []
    for response in tree.responses:
        logp_tv = model(input_ids=torch.tensor([[*tree.prompt, *response]])).logits[0].log_softmax(-1)
        at = torch.arange(len(tree.prompt) - 1, len(tree.prompt) + len(response) - 1)
        found.append(logp_tv[at, torch.tensor(response)].sum())
    return torch.stack(found)


def plain_losses(run: ResolvedRun, models: list[Any]) -> list[float]:
    """Losses of a loop over separate models, which shares nothing with the policy but the objective."""
    parameters = [each for model in models for each in model.parameters() if each.requires_grad]
    derived, objective = run.plan.derived, compose(run.spec.algorithm)
    optimizer = adamw(parameters, run.spec.optimizer)
    schedule = cosine(optimizer, derived.steps, derived.warmup_steps)
    buffers = [RolloutBuffer(each) for each in run.buffers()]
    utility_g, weight_g, losses = first_utilities(len(GROUPS)), None, []
    for step in range(derived.steps):
        batch = assemble([buffer.batch(run.plan.sampler.of_step(step)) for buffer in buffers])
        with torch.no_grad(), models[0].disable_adapter():
            reference_s = torch.cat([logprob(models[0], tree) for tree in batch.trees]).double()
        logp_s = torch.cat([logprob(models[tree.group], tree) for tree in batch.trees]).double()
        candidates = replace(batch.candidates, reference_logp_qgk=batch.to_qgk(reference_s))
        outputs = step_objective(objective, batch.to_qgk(logp_s), candidates, utility_g, None, weight_g)
        optimizer.zero_grad()
        outputs.loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(parameters, run.spec.optimizer.clip_norm)
        optimizer.step()
        schedule.step()
        utility_g, weight_g = outputs.utility_g, outputs.weight_g
        losses.append(float(outputs.loss.detach()))
    return losses


def test_losses_are_those_of_separate_models_and_peft_loads_each_adapter(run: ResolvedRun, tmp_path: Path) -> None:
    training, models = LocalTraining.of(run), peft_models(run)
    losses = [float(result.outputs.loss.detach()) for result in training.steps()]
    assert losses == pytest.approx(plain_losses(run, models), abs=1e-4)
    training.policy.save(tmp_path / "adapter")
    assert sorted(path.name for path in (tmp_path / "adapter").iterdir() if path.is_dir()) == sorted(GROUPS)
    for g, group in enumerate(GROUPS):
        tree = replace(TREES[0], group=g)
        with torch.no_grad():
            loaded = logprob(cast("Any", load_policy(run.model, tmp_path / "adapter" / group, "float32")), tree)
            torch.testing.assert_close(training.policy([tree]), loaded, atol=1e-4, rtol=1e-4)
            torch.testing.assert_close(logprob(models[g], tree), loaded, atol=1e-2, rtol=1e-2)


@pytest.mark.parametrize("again", [True, "selective"])
def test_recomputed_layers_are_refused(again: object, world: World) -> None:
    with pytest.raises(ValidationError, match=r"'learner\.activation_checkpointing'"):
        world.train_spec("own", policy="per_group", learner={"activation_checkpointing": again})


def test_a_persona_without_logs_has_no_adapter_to_be_evaluated(world: World, tmp_path: Path) -> None:
    groups = tmp_path / "groups.yaml"
    groups.write_text(Path(world.groups).read_text().replace("name: professor", "name: pilot"))
    changes = {"policy": "per_group", "evaluation": world.evaluation | {"groups": str(groups)}}
    spec = world.train_spec("own", **changes)
    with pytest.raises(SpecError, match="no logs of group 'pilot'"):
        resolve(spec, RunFolder.of(spec))
