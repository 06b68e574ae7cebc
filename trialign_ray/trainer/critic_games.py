"""From the logs to the games that a centralised critic learns from, and its fit before the first step.

Letters: q question, n game, t turn, g group, r row.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import torch
import torch.distributed as dist

from trialign_ray.actors.labels import LabelPolicy
from trialign_ray.config.train import TrainSpec
from trialign_ray.data.batch import Ints
from trialign_ray.data.dataset import Dataset, read_logs
from trialign_ray.data.regimes import drawn
from trialign_ray.objective.candidates import UNNAMED
from trialign_ray.objective.critic.base import Critic, JointGames
from trialign_ray.rewards.utility import utility
from trialign_ray.trainer.resolve import TrainingPlan

_QUESTIONS = 4096
"""Most questions whose games are read, drawn by hash: a critic of a few thousand weights needs no more."""
_COLUMNS = (
    *("question_id", "group", "protocol", "turn", "sample", "split", "kind", "answer", "reward_truth"),
    *("reward_preference", "response_ids"),
)


def fit_critic(critic: Critic | None, plan: TrainingPlan, spec: TrainSpec, device: torch.device) -> None:
    """Rank 0 fits on the logs and all ranks get what it learnt. `device` is that of collectives. Raises DataError."""
    if critic is None:
        return
    if dist.get_rank() == 0:
        critic.fit(joint_games(plan.logs, plan.groups, plan.sampler.question_ids, spec))
    state = {name: value.to(device) for name, value in critic.state_dict().items()}
    for value in state.values():
        dist.broadcast(value, src=0)
    critic.load_state_dict({name: value.cpu() for name, value in state.items()})


def joint_games(logs: Dataset, groups: Sequence[str], questions: Sequence[str], spec: TrainSpec) -> JointGames:
    """The logged games of `questions`, a game being one sample under one protocol; a turn that one missed is not there.

    Of several rows in one place, as several prompts of a group give them, the last counts. Raises DataError.
    """
    labels = LabelPolicy.of(spec.competing().labels, logs)
    share = min(1.0, _QUESTIONS / len(questions))
    table = pa.concat_tables(labels.relabelled(read_logs(logs, group, _COLUMNS), group) for group in groups)
    kept = pa.array(drawn(questions, share, spec.seed, "critic"), pa.string())
    table = table.filter(pc.and_(pc.is_in(table["question_id"], kept), pc.equal(table["split"], "train")))
    question_r, game_r = _codes(table["question_id"]), _games(table)
    group_r = pc.index_in(table["group"], pa.array(groups)).to_numpy()
    place = (question_r, game_r, table["turn"].to_numpy() - 1, group_r)
    shape = (*(int(index.max()) + 1 for index in place[:3]), len(groups))

    def spread(value_r: npt.NDArray[Any], fill: float) -> torch.Tensor:
        full = np.full(shape, fill, value_r.dtype)
        full[place] = value_r
        return torch.from_numpy(full)

    rewards = zip(table["reward_truth"].to_pylist(), table["reward_preference"].to_pylist(), strict=True)
    objective = np.zeros(shape[0], np.bool_)
    objective[question_r] = pc.equal(table["kind"], "objective").to_numpy()
    return JointGames(
        utility_qntg=spread(np.array([utility(spec.algorithm.utility, *each) for each in rewards]), 0.0),
        truth_qntg=spread(table["reward_truth"].fill_null(0).to_numpy().astype(np.float64), 0.0),
        answer_qntg=spread(_answers(question_r, table["answer"]), UNNAMED),
        length_qntg=spread(pc.list_value_length(table["response_ids"]).to_numpy().astype(np.int64), 0),
        there_qntg=spread(np.ones(table.num_rows, np.bool_), 0),
        objective_q=torch.from_numpy(objective),
    )


def _codes(values: pa.ChunkedArray) -> Ints:
    """Each value's number, in the order in which they are met."""
    found: Ints = pc.dictionary_encode(values).combine_chunks().indices.to_numpy().astype(np.int64)
    return found


def _games(table: pa.Table) -> Ints:
    """Number of each row's game within its question."""
    sample_r = table["sample"].to_numpy().astype(np.int64)
    return np.unique(_codes(table["protocol"]) * (sample_r.max() + 1) + sample_r, return_inverse=True)[1]


def _answers(question_r: Ints, answer: pa.ChunkedArray) -> Ints:
    """Number of each row's answer within its question, from 0; UNNAMED where there is none."""
    code_r = _codes(answer.fill_null(""))
    named_r = pc.is_valid(answer).to_numpy(zero_copy_only=False)
    found = np.full(len(code_r), UNNAMED, np.int64)
    pairs = np.stack([question_r, code_r], 1)[named_r]
    distinct, number = np.unique(pairs, axis=0, return_inverse=True)
    first = np.searchsorted(distinct[:, 0], distinct[:, 0])
    found[named_r] = number - first[number]
    return found
