"""Under ZeRO 3 no rank ever holds the whole model, and the steps are those of a plain loop on whole weights."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pytest
import torch
import torch.distributed as dist

from tests.integration.trainer.conftest import RANKS, Ranks
from tests.integration.trainer.test_zero import OPTIMIZER
from tests.plain import plain_train
from tests.shares import random_shares
from tests.tiny import save_tiny, tiny_model
from trialign_ray.algorithms.compose import compose
from trialign_ray.config.algorithm import TrialignSpec
from trialign_ray.config.train import TrainSpec
from trialign_ray.trainer.passes import Budget
from trialign_ray.trainer.policy import Policy, make_policy

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("one_thread")]

STEPS = 4
TINY = sum(each.numel() for each in tiny_model().parameters())
ALGORITHM = TrialignSpec(utility_decay=0.5)
What = Literal["lora", "full", "per_group"]
GROUPS = ("neutral", "farmer", "professor")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of several files, with the head tied to the embedding."""
    found = save_tiny(tmp_path_factory.mktemp("sharded"))
    (found / "model.safetensors").unlink()
    tiny_model().save_pretrained(found, max_shard_size="30KB")
    assert len(list(found.glob("*.safetensors"))) > 2
    return found


def spec_of(what: What, folder: Path, dtype: str = "float32") -> TrainSpec:
    fields: dict[str, Any] = {"name": "a", "model": str(folder), "logs": "logs", "questions_per_step": 4}
    fields |= {"adapter": "full"} if what == "full" else {"lora": {"rank": 4}}
    fields |= {"policy": "per_group"} if what == "per_group" else {}
    return TrainSpec(**fields, learner={"workers": RANKS, "zero_stage": 3, "dtype": dtype})


def moved(policy: Policy) -> Policy:
    """A fresh adapter's B is zero, which would hide half of the gradients."""
    generator = torch.Generator().manual_seed(2)
    for name, parameter in policy.named_trainable():
        if "lora_" in name:
            with torch.no_grad():
                parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return policy


def zero_train(
    what: What, folder: Path, dtype: str = "float32", *, split: bool
) -> tuple[list[float], list[npt.NDArray[Any]], float]:
    """Losses, what was trained after the last step, and the share of the base that this rank held before it was set up,
    which is loaded split or whole.
    """
    import deepspeed

    from trialign_ray.objective.step import first_utilities
    from trialign_ray.trainer.engine import initialize, split_loading
    from trialign_ray.trainer.learner import Learner

    spec = spec_of(what, folder, dtype)
    made = moved(make_policy(folder, spec, GROUPS, split_loading(spec.optimizer, spec.learner) if split else None))
    base: list[Any] = [each for name, each in made.named_parameters() if "lora_" not in name]
    held = sum(each.numel() + (each.ds_tensor.numel() if hasattr(each, "ds_id") else 0) for each in base) / TINY
    engine = initialize(made, OPTIMIZER, spec.learner, STEPS, 1)
    stepper = Learner(engine, compose(ALGORITHM), first_utilities(3), Budget.of_tokens(40))
    losses = [float(stepper.step(random_shares(step)).outputs.loss.detach()) for step in range(STEPS)]
    with deepspeed.zero.GatheredParameters(made.trainable()):
        return losses, [parameter.detach().float().numpy().copy() for parameter in made.trainable()], held


@pytest.mark.parametrize("what", ["lora", "per_group", "full"])
def test_weights_are_split_while_they_are_loaded_and_trained_as_whole_ones_are(
    what: What, folder: Path, ranks: Ranks
) -> None:
    losses, parameters, held = ranks.run(partial(zero_train, split=True), what, folder)
    whole_losses, whole_parameters, all_of_it = ranks.run(partial(zero_train, split=False), what, folder)
    assert held == pytest.approx(1 / RANKS, abs=0.05)
    assert all_of_it == 1
    assert losses == whole_losses
    assert all(np.array_equal(*each) for each in zip(parameters, whole_parameters, strict=True))
    shares = map(random_shares, range(STEPS))
    plain = plain_train(moved(make_policy(folder, spec_of(what, folder), GROUPS)), ALGORITHM, OPTIMIZER, shares, STEPS)
    assert losses == pytest.approx(plain[0], abs=5e-5)
    for ours, reference in zip(parameters, plain[1], strict=True):
        torch.testing.assert_close(torch.from_numpy(ours), reference, atol=2e-4, rtol=1e-4)


def test_the_default_precision_takes_the_same_steps(folder: Path, ranks: Ranks) -> None:
    split, whole = (ranks.run(partial(zero_train, split=how), "lora", folder, "bfloat16") for how in (True, False))
    assert split[0] == whole[0]
    assert all(np.array_equal(*each) for each in zip(split[1], whole[1], strict=True))


def loaded_whole(folder: Path) -> bool:
    """Whether a model that is loaded after a split one is whole."""
    from trialign_ray.models.loading import load_model
    from trialign_ray.trainer.engine import split_loading

    spec = spec_of("lora", folder)
    with split_loading(spec.optimizer, spec.learner):
        load_model(folder, "float32")
    dist.barrier()
    found: Any = load_model(folder, "float32")
    return all(each.numel() and not hasattr(each, "ds_id") for each in found.parameters())


def test_a_model_that_is_loaded_later_is_whole(folder: Path, ranks: Ranks) -> None:
    assert ranks.run(loaded_whole, folder)
