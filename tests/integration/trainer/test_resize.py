"""Training that goes on with another number of ranks, and at another ZeRO stage, takes the steps of one that never
stopped; of an adapter, and of all weights.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy.typing as npt
import pytest
import torch
import torch.distributed as dist
from safetensors.torch import load_file
from torch import Tensor

from tests.integration.trainer.conftest import Ranks
from tests.integration.trainer.test_zero import OPTIMIZER, policy
from tests.plain import plain_train
from tests.shares import random_shares
from tests.tiny import tiny_model
from trialign_ray.algorithms.compose import compose
from trialign_ray.config.algorithm import TrialignSpec
from trialign_ray.config.train import LearnerSpec
from trialign_ray.trainer.passes import Budget
from trialign_ray.trainer.policy import Policy, unfreeze

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("one_thread")]

STEPS, TOKENS = 4, 40
ALGORITHM = TrialignSpec(utility_decay=0.5)
Stage = Literal[1, 2, 3]
What = Literal["lora", "full"]


def policy_of(what: What, learner: LearnerSpec) -> Policy:
    return policy(learner) if what == "lora" else unfreeze(tiny_model(), learner)


def steps(what: What, stage: Stage, folder: Path, first: int, end: int) -> list[float]:
    """Losses of some steps, from the checkpoint in `folder` unless `first` is 0, to the one that is left there."""
    from trialign_ray.objective.step import first_utilities
    from trialign_ray.trainer import checkpoint
    from trialign_ray.trainer.engine import initialize
    from trialign_ray.trainer.learner import Learner

    learner = LearnerSpec(workers=dist.get_world_size(), zero_stage=stage, dtype="float32")
    engine = initialize(policy_of(what, learner), OPTIMIZER, learner, STEPS, 1)
    stepper = Learner(engine, compose(ALGORITHM), first_utilities(3), Budget.of_tokens(TOKENS))
    if first:
        state = checkpoint.load(folder / str(first), engine)
        stepper.utility_g, stepper.weight_g = (
            torch.tensor(each, dtype=torch.float64) for each in (state.utility, state.weight)
        )
    losses = [float(stepper.step(random_shares(step)).outputs.loss.detach()) for step in range(first, end)]
    utility, weight = stepper.utility_g.tolist(), stepper.weight_g.tolist()
    here = folder / str(end)
    here.mkdir(exist_ok=True)
    checkpoint.save(here, engine, checkpoint.TrainingState(end, utility, weight, [], dist.get_world_size()))
    return losses


def weights_of(what: What, folder: Path) -> dict[str, Tensor]:
    """What was saved to be deployed, by the module's names."""
    if what == "full":
        return load_file(folder / "model" / "model.safetensors")
    kept = load_file(folder / "adapter" / "adapter_model.safetensors")
    return {name.replace(".weight", ".default.weight"): value for name, value in kept.items()}


Traced = tuple[list[float], dict[str, npt.NDArray[Any]]]


@pytest.fixture(scope="module")
def plain() -> dict[What, Traced]:
    """Losses and weights of a plain loop."""
    torch.set_num_threads(1)
    found: dict[What, Traced] = {}
    whats: tuple[What, ...] = ("lora", "full")
    for what in whats:
        made = policy_of(what, LearnerSpec(workers=1, dtype="float32"))
        losses, values = plain_train(made, ALGORITHM, OPTIMIZER, map(random_shares, range(STEPS)), STEPS)
        names = [name for name, _ in made.named_trainable()]
        found[what] = losses, {name: value.numpy() for name, value in zip(names, values, strict=True)}
    return found


@pytest.mark.parametrize(("what", "before", "after"), [("lora", 1, 3), ("lora", 3, 2), ("full", 2, 3), ("full", 3, 1)])
def test_two_ranks_then_three_take_the_steps_of_the_plain_loop(
    what: What,
    before: Stage,
    after: Stage,
    ranks: Ranks,
    three_ranks: Ranks,
    plain: dict[What, Traced],
    tmp_path: Path,
) -> None:
    losses = ranks.run(steps, what, before, tmp_path, 0, 2)
    losses += three_ranks.run(steps, what, after, tmp_path, 2, 3)
    losses += ranks.run(steps, what, before, tmp_path, 3, 4)
    expected, weights = plain[what]
    assert losses == pytest.approx(expected, abs=5e-5)
    found = weights_of(what, tmp_path / str(STEPS))
    assert found.keys() == weights.keys()
    for name, value in weights.items():
        torch.testing.assert_close(found[name], torch.from_numpy(value), atol=2e-4, rtol=1e-4)


def test_what_is_trained_moves(plain: dict[What, Traced]) -> None:
    """Without which the tests above would say nothing."""
    for what, (_, weights) in plain.items():
        start = dict(policy_of(what, LearnerSpec(workers=1, dtype="float32")).named_trainable())
        moved = {name: float((start[name] - torch.from_numpy(value)).abs().max()) for name, value in weights.items()}
        assert min(moved.values()) > 1e-4, moved
