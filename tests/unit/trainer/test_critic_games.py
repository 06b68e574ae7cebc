"""Logged games as a critic reads them, and that what it learnt is carried by a checkpoint."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
import torch
from safetensors.torch import save_file as torch_save

from tests.world import World
from trialign_ray.algorithms.compose import compose
from trialign_ray.config.train import TrainSpec
from trialign_ray.data.dataset import open_dataset, read_logs, write_logs
from trialign_ray.data.schema import SCHEMA
from trialign_ray.errors import CheckpointError
from trialign_ray.objective.candidates import UNNAMED
from trialign_ray.objective.critic.base import JointGames
from trialign_ray.trainer.checkpoint import load_critic
from trialign_ray.trainer.critic_games import fit_critic, joint_games
from trialign_ray.trainer.plain_engine import one_process
from trialign_ray.trainer.resolve import plan_training

CPU = torch.device("cpu")


def omiga(world: World) -> TrainSpec:
    critic = {"steps": 20, "hidden": 8, "gamma": 0.5}
    return world.train_spec("critic", algorithm={"name": "omiga", "critic": critic})


def talked(world: World, folder: Path) -> JointGames:
    """The world's logs with a second turn, in which the farmer is silent and all others give the farmer's answer."""
    rows = read_logs(world.logs).to_pylist()
    farmers = {(row["question_id"], row["sample"]): row for row in rows if row["group"] == "farmer"}
    later = [
        row
        | {name: farmers[row["question_id"], row["sample"]][name] for name in ("answer", "reward_truth")}
        | {"turn": 2}
        for row in rows
        if row["group"] != "farmer"
    ]
    logs = str(folder / "logs")
    groups = ("neutral", "farmer", "professor")
    write_logs(pa.Table.from_pylist([*rows, *later], schema=SCHEMA), logs, groups)
    spec = omiga(world)
    plan = plan_training(spec, open_dataset(logs))
    return joint_games(plan.logs, plan.groups, plan.sampler.question_ids, spec)


def test_games_are_what_the_rows_say(world: World, tmp_path: Path) -> None:
    games = talked(world, tmp_path)
    assert games.truth_qntg.shape == (4, 3, 2, 3)
    assert games.there_qntg[:, :, 0].all()
    assert (games.there_qntg[:, :, 1] == torch.tensor([True, False, True])).all()
    assert games.truth_qntg[:, 0, 0, 1].all()
    assert not games.truth_qntg[:, :, 0, [0, 2]].any()
    assert (games.truth_qntg[:, :, 1, 2] == games.truth_qntg[:, :, 0, 1]).all()
    assert (games.answer_qntg[:, :, 1, 0] == games.answer_qntg[:, :, 0, 1]).all()
    assert (games.answer_qntg[:, 0, 0, 0] != games.answer_qntg[:, 0, 0, 1]).all()
    assert (games.answer_qntg[~games.there_qntg] == UNNAMED).all()
    assert games.objective_q.all()


def test_a_fitted_critic_is_carried_by_its_checkpoint(world: World, tmp_path: Path) -> None:
    spec = omiga(world)
    plan = plan_training(spec, open_dataset(spec.logs))
    fitted, fresh = compose(spec.algorithm).critic, compose(spec.algorithm).critic
    assert fitted is not None
    assert fresh is not None
    with one_process(CPU):
        fit_critic(fitted, plan, spec, CPU)
    with pytest.raises(CheckpointError, match="its critic cannot be read"):
        load_critic(tmp_path, fresh)
    torch_save(dict(fitted.state_dict()), tmp_path / "critic.safetensors")
    load_critic(tmp_path, fresh)
    assert all(torch.equal(value, fresh.state_dict()[name]) for name, value in fitted.state_dict().items())
