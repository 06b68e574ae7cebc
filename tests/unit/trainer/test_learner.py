"""A step computes reference log-probs where the objective reads them, once, and nowhere else."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist

from tests.benchmarks.bare import BareEngine
from tests.shares import random_shares
from tests.tiny import tiny_model
from trialign_ray.algorithms.compose import compose
from trialign_ray.config.algorithm import AlgorithmSpec, DpoSpec, OpctSpec, SftSpec, TrialignSpec
from trialign_ray.config.losses import DpoLossSpec
from trialign_ray.config.train import LearnerSpec, LoraSpec, OptimizerSpec
from trialign_ray.data.batch import GroupBatch
from trialign_ray.errors import WorkerError
from trialign_ray.objective.step import first_utilities
from trialign_ray.trainer.collate import assemble
from trialign_ray.trainer.learner import Learner, StepResult
from trialign_ray.trainer.packing import Tree
from trialign_ray.trainer.passes import Budget
from trialign_ray.trainer.policy import adapt, unfreeze

READS = {
    "dpo": DpoSpec(name="dpo"),
    "dpo loss without a KL term": TrialignSpec(loss=DpoLossSpec(), kl=0),
    "KL term": TrialignSpec(kl=0.1),
}
READS_NONE: dict[str, AlgorithmSpec] = {"awr": TrialignSpec(), "sft": SftSpec(name="sft")}


class CountingEngine(BareEngine):
    """Counts its forwards."""

    forwards = 0

    def __call__(self, trees: Sequence[Tree]) -> torch.Tensor:
        self.forwards += 1
        return super().__call__(trees)


@pytest.fixture(autouse=True)
def process_group(tmp_path: Path) -> Iterator[None]:
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/meet", rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def engine() -> CountingEngine:
    policy = adapt(tiny_model(), LoraSpec(rank=4), LearnerSpec(dtype="float32"), seed=1)
    # A fresh LoRA has B = 0: policy and reference would be the same.
    with torch.no_grad():
        for parameter in policy.trainable():
            parameter.add_(0.1)
    return CountingEngine(policy, OptimizerSpec(), steps=4)


def step(made: CountingEngine, spec: AlgorithmSpec, shares: Sequence[GroupBatch]) -> StepResult:
    return Learner(made, compose(spec), first_utilities(len(shares))).step(shares)


@pytest.mark.parametrize("spec", READS.values(), ids=list(READS))
def test_reference_log_probs_are_computed_where_the_loss_or_the_kl_term_reads_them(spec: AlgorithmSpec) -> None:
    shares = random_shares(0)
    batch = assemble(shares)
    made = engine()
    with torch.no_grad(), made.module.reference():
        expected_qgk = batch.to_qgk(made.module(batch.trees).double())
    result = step(made, spec, shares)
    assert result.outputs.loss.isfinite()
    assert result.reference_logp_qgk is not None
    torch.testing.assert_close(result.reference_logp_qgk, expected_qgk)
    assert made.forwards == 2


def test_a_neutral_reference_scores_every_response_behind_the_first_group_s_prompt() -> None:
    shares = random_shares(0)
    made, cells = engine(), [(share, q) for q in range(len(shares[0].objective_q)) for share in shares]
    trees = [
        Tree(shares[0].prompt(q).tolist(), [share.response(n).tolist() for n in share.candidates(q)])
        for share, q in cells
    ]
    with torch.no_grad(), made.module.reference():
        expected_s = made.module(trees).double()
    result = step(made, OpctSpec(name="opct"), shares)
    assert result.reference_logp_qgk is not None
    torch.testing.assert_close(result.reference_logp_qgk[result.scored_qgk], expected_s)


@pytest.mark.parametrize("spec", READS_NONE.values(), ids=list(READS_NONE))
def test_they_are_not_computed_where_nothing_reads_them(spec: AlgorithmSpec) -> None:
    made = engine()
    result = step(made, spec, random_shares(0))
    assert result.outputs.loss.isfinite()
    assert (result.reference_logp_qgk, made.forwards) == (None, 1)


@pytest.mark.parametrize(("tokens", "several"), [(10_000, False), (30, True)])
def test_every_pass_but_the_last_is_run_twice(tokens: int, several: bool) -> None:
    made = engine()
    learner = Learner(made, compose(TrialignSpec()), first_utilities(3), Budget.of_tokens(tokens))
    result = learner.step(random_shares(0))
    assert (result.passes > 1) == several
    assert made.forwards == 2 * result.passes - 1


def test_where_all_weights_are_trained_the_reference_is_asked_before_the_first_step_or_not_at_all() -> None:
    shares, policy = random_shares(0), unfreeze(tiny_model(), LearnerSpec(dtype="float32"))
    learner = Learner(
        CountingEngine(policy, OptimizerSpec(), steps=4), compose(DpoSpec(name="dpo")), first_utilities(3)
    )
    assert learner.asks_first
    found = learner.reference(shares)
    assert found is not None
    kept = [
        replace(share, reference_logp_n=found[0][:, g][found[1][:, g]].numpy().astype(np.float32))
        for g, share in enumerate(shares)
    ]
    batch = assemble(shares)
    torch.testing.assert_close(found[0], batch.to_qgk(policy(batch.trees).detach().double()))
    assert learner.step(kept).reference_logp_qgk is None
    with pytest.raises(WorkerError, match="has lost the reference log-probs"):
        learner.step(shares)


def test_those_that_the_actors_kept_are_not_computed_again() -> None:
    shares, spec = random_shares(0), DpoSpec(name="dpo")
    first = step(engine(), spec, shares)
    assert first.reference_logp_qgk is not None
    kept = [
        replace(
            share, reference_logp_n=first.reference_logp_qgk[:, g][first.scored_qgk[:, g]].numpy().astype(np.float32)
        )
        for g, share in enumerate(shares)
    ]
    made = engine()
    again = step(made, spec, kept)
    assert (again.reference_logp_qgk, made.forwards) == (None, 1)
    torch.testing.assert_close(again.outputs.loss, first.outputs.loss, atol=1e-5, rtol=1e-5)
