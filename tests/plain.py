"""The ZeRO learner's training as a plain single-process torch loop: the reference of tests and benchmarks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from trialign_ray.algorithms.compose import compose
from trialign_ray.config.algorithm import AlgorithmSpec
from trialign_ray.config.train import OptimizerSpec
from trialign_ray.data.batch import GroupBatch
from trialign_ray.objective.step import first_utilities, step_objective
from trialign_ray.trainer.collate import assemble
from trialign_ray.trainer.engine import adamw, cosine
from trialign_ray.trainer.policy import Policy


def plain_train(
    policy: Policy,
    algorithm: AlgorithmSpec,
    optimizer: OptimizerSpec,
    steps: Iterable[Sequence[GroupBatch]],
    total: int,
) -> tuple[list[float], list[Tensor]]:
    """Loss of every step, and the adapter's parameters after the last."""
    parameters = policy.trainable()
    masters = [nn.Parameter(parameter.detach().float().clone()) for parameter in parameters]
    adam = adamw(masters, optimizer)
    schedule = cosine(adam, total, 1)
    objective = compose(algorithm)
    utility_g, weight_g, losses = None, None, []
    for shares in steps:
        utility_g = first_utilities(len(shares)) if utility_g is None else utility_g
        batch = assemble(shares)
        logp_s = policy(batch.trees).double()
        logp_qgk, scored = batch.to_qgk(logp_s), batch.scored_answers(logp_s)
        candidates = batch.candidates
        if objective.needs_reference:
            with torch.no_grad(), policy.reference():
                candidates = replace(candidates, reference_logp_qgk=batch.to_qgk(policy(batch.trees).double()))
        outputs = step_objective(objective, logp_qgk, candidates, utility_g, scored, weight_g)
        outputs.loss.backward()  # type: ignore[no-untyped-call]
        for parameter, master in zip(parameters, masters, strict=True):
            assert parameter.grad is not None
            master.grad, parameter.grad = parameter.grad.float(), None
        torch.nn.utils.clip_grad_norm_(masters, optimizer.clip_norm)
        adam.step()
        schedule.step()
        with torch.no_grad():
            for parameter, master in zip(parameters, masters, strict=True):
                parameter.copy_(master)
        utility_g, weight_g = outputs.utility_g, outputs.weight_g
        losses.append(float(outputs.loss.detach()))
    return losses, [parameter.detach().clone() for parameter in parameters]
