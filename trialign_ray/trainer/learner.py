"""One rank of the learner group, without Ray: from the shares of a step to an optimizer step and its metrics.

    divide -> log-probs, pass by pass -> gather -> objective -> backward, pass by pass -> ZeRO step

The objective is evaluated on every rank over all responses, on gathered log-probs. Its slope in them is exact at any
number of ranks and passes, and each rank sends back only the slopes of its own responses: group statistics are those of
the whole step, and a rank holds the activations of one pass. The last pass keeps its graph from the first time, so that
a step of one pass computes nothing twice.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
import torch.distributed as dist
from torch import Tensor

from trialign_ray.data.batch import GroupBatch
from trialign_ray.errors import WorkerError
from trialign_ray.objective.candidates import Candidates
from trialign_ray.objective.step import Objective, StepOutputs, step_objective
from trialign_ray.trainer.checkpoint import LOST_REFERENCES
from trialign_ray.trainer.collate import StepBatch, assemble
from trialign_ray.trainer.engine import TrainingEngine
from trialign_ray.trainer.packing import Tree, tree_nodes
from trialign_ray.trainer.passes import WHOLE, Budget, Passes, divide
from trialign_ray.trainer.response_logprobs import NO_TREE


@dataclass(frozen=True, slots=True)
class StepResult:
    """What a step did. `reference_logp_qgk` is there where it was computed in this step."""

    outputs: StepOutputs
    accuracy_g: Tensor
    """Share of right ones among the groups' own distinct responses to objective questions; NaN where there are none."""
    grad_norm: float
    learning_rate: float
    response_tokens: int
    """Of all candidates, each in full."""
    scored_tokens: int
    """Tokens that pass the model with a gradient: prompts, candidates and answers, those of a shared prefix once."""
    seconds: float
    reference_logp_qgk: Tensor | None
    scored_qgk: Tensor
    """True where there is a response."""
    passes: int
    """In which each rank took its trees."""


class Learner:
    """Takes steps with a DeepSpeed engine over a `Policy`. Every rank must call the same methods in the same order."""

    def __init__(self, engine: TrainingEngine, objective: Objective, utility_g: Tensor, budget: Budget = WHOLE) -> None:
        """budget: of the activations that a rank holds at one time; equal on all ranks."""
        self._engine = engine
        self._objective = objective
        self._budget = budget
        self.utility_g = utility_g
        """Moving average of each group's utility, equal on all ranks."""
        self.weight_g = torch.ones_like(utility_g)
        """The groups' weights in the last step, equal on all ranks; 1 before the first."""
        self.at_start = True
        """Whether the weights are those that were loaded: no step was taken."""

    def step(self, shares: Sequence[GroupBatch]) -> StepResult:
        """One optimizer step on whole questions over all groups."""
        started = time.perf_counter()
        batch = assemble(shares)
        reference = self._lacking(batch)
        divided = self._divide(batch.trees)
        passes, everyone = divided.of_rank(dist.get_rank()), divided.numbers()
        with torch.no_grad():
            others = [self._scored(part) for part in passes[:-1]]
        last_s = self._scored(passes[-1])
        leaf_s = _gather(torch.cat([*others, last_s.detach()]).double(), everyone).requires_grad_()
        candidates = batch.candidates if reference is None else _with_reference(batch, reference)
        scored = batch.scored_answers(leaf_s)
        logp_qgk = batch.to_qgk(leaf_s)
        outputs = step_objective(self._objective, logp_qgk, candidates, self.utility_g, scored, self.weight_g)
        (slope_s,) = torch.autograd.grad(outputs.loss, leaf_s)
        self._backward(passes, last_s, slope_s[everyone[dist.get_rank()]].to(last_s))
        rate = float(self._engine.get_lr()[0])
        self._engine.step()
        self.utility_g, self.weight_g, self.at_start = outputs.utility_g, outputs.weight_g, False
        return StepResult(
            outputs=outputs,
            accuracy_g=_accuracy(batch),
            grad_norm=float(self._engine.get_global_grad_norm() or 0.0),
            learning_rate=rate,
            response_tokens=batch.response_tokens,
            scored_tokens=sum(map(tree_nodes, batch.trees)),
            seconds=time.perf_counter() - started,
            reference_logp_qgk=reference,
            scored_qgk=batch.scored_qgk,
            passes=len(passes),
        )

    def _divide(self, trees: Sequence[Tree]) -> Passes:
        return divide(trees, dist.get_world_size(), self._budget, apart=self._engine.module.apart)

    def _scored(self, trees: Sequence[Tree]) -> Tensor:
        """Log-probs of the responses of one pass, [responses of the pass]; a pass without trees takes part too."""
        return self._engine(trees or [NO_TREE])[: _responses(trees)]

    def _backward(self, passes: Sequence[Sequence[Tree]], last_s: Tensor, slope_s: Tensor) -> None:
        """Send the slopes of this rank's responses back, the last pass first, and reduce the gradients once."""
        # ZeRO averages gradients over the ranks; the step's gradient is their sum.
        slopes = torch.split(slope_s * dist.get_world_size(), [_responses(part) for part in passes])
        with self._engine.coalesce_grad_reduction():
            self._engine.backward((last_s * slopes[-1]).sum())
            for part, slope in zip(passes[:-1], slopes[:-1], strict=True):
                self._engine.backward((self._scored(part) * slope).sum())

    @property
    def asks_first(self) -> bool:
        """Whether reference log-probs are to be known before the first step: later no weights give them."""
        return self._objective.needs_reference and not self._engine.module.keeps_start

    def reference(self, shares: Sequence[GroupBatch]) -> tuple[Tensor, Tensor] | None:
        """Log-probs of all candidates under the weights as they were loaded, and which places hold one, [q, g, k].

        None where the shares bring them. Raises WorkerError where they were lost and cannot be computed again.
        """
        batch = assemble(shares)
        found = self._lacking(batch)
        return None if found is None else (found, batch.scored_qgk)

    def _lacking(self, batch: StepBatch) -> Tensor | None:
        """Reference log-probs, [q, g, k], where the objective needs them and a rank has not got them."""
        if not self._objective.needs_reference:
            return None
        lacking = torch.tensor([float(batch.lacks_reference())], device=self._engine.device)
        # A rank may have asked its actors before another rank's values arrived there: all must agree to compute.
        dist.all_reduce(lacking, op=dist.ReduceOp.MAX)
        if not lacking.item():
            return None
        if not (self.at_start or self._engine.module.keeps_start):
            raise WorkerError(LOST_REFERENCES)
        divided = self._divide(batch.behind_first_prompt() if self._objective.neutral_reference else batch.trees)
        with torch.no_grad(), self._engine.module.reference():
            local_s = torch.cat([self._scored(part) for part in divided.of_rank(dist.get_rank())])
        return batch.to_qgk(_gather(local_s.double(), divided.numbers()))


def _gather(local_s: Tensor, numbers: Sequence[Tensor]) -> Tensor:
    """All ranks' values in the order of the responses, [responses]. `numbers`: which responses each rank holds."""
    most = max(len(part) for part in numbers)
    padded = local_s.new_zeros(most)
    padded[: len(local_s)] = local_s
    received = [torch.empty_like(padded) for _ in numbers]
    dist.all_gather(received, padded)
    whole = local_s.new_zeros(sum(len(part) for part in numbers))
    for part, values in zip(numbers, received, strict=True):
        whole[part] = values[: len(part)]
    return whole.cpu()


def _responses(trees: Sequence[Tree]) -> int:
    return sum(len(tree.responses) for tree in trees)


def _with_reference(batch: StepBatch, reference_logp_qgk: Tensor) -> Candidates:
    return replace(batch.candidates, reference_logp_qgk=reference_logp_qgk)


def _accuracy(batch: StepBatch) -> Tensor:
    counted = (batch.candidates.own_qgk & batch.candidates.objective_q[:, None, None]).double()
    return (batch.candidates.truth_qgk * counted).sum((0, 2)) / counted.sum((0, 2))
