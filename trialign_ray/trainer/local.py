"""Train a resolved run in this process, without Ray and DeepSpeed: in a notebook, or where only torch is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from torch import Tensor

from trialign_ray.actors.replay_buffer import RolloutBuffer
from trialign_ray.algorithms.compose import compose
from trialign_ray.objective.step import first_utilities
from trialign_ray.trainer.critic_games import fit_critic
from trialign_ray.trainer.learner import Learner, StepResult
from trialign_ray.trainer.memory import pass_budget
from trialign_ray.trainer.plain_engine import PlainEngine, one_process
from trialign_ray.trainer.policy import Policy, make_policy
from trialign_ray.trainer.resolve import ResolvedRun


@dataclass(frozen=True, slots=True)
class LocalTraining:
    """A run that is trained step by step in this process; its steps are those of one Ray Train worker."""

    run: ResolvedRun
    policy: Policy

    @classmethod
    def of(cls, run: ResolvedRun, device: str = "cpu") -> LocalTraining:
        """The run with its model, under a fresh adapter or to be trained whole, on `device`. Raises ModelError."""
        return cls(run, make_policy(run.model, run.spec, run.plan.groups).to(device))

    def steps(self) -> Iterator[StepResult]:
        """Take the run's steps, one each time that the next result is asked for. Raises DataError."""
        run, derived = self.run, self.run.plan.derived
        engine = PlainEngine(self.policy, run.spec.optimizer, derived.steps, derived.warmup_steps)
        buffers = [RolloutBuffer(each) for each in run.buffers()]
        with one_process(engine.device):
            budget = pass_budget(self.policy.model.config, run.spec.trained, run.spec.learner, engine.device)
            objective = compose(run.spec.algorithm)
            fit_critic(objective.critic, run.plan, run.spec, engine.device)
            learner = Learner(engine, objective, first_utilities(derived.groups), budget)
            for questions in run.plan.sampler.first_meetings() if learner.asks_first else ():
                if (found := learner.reference([buffer.batch(questions) for buffer in buffers])) is not None:
                    _keep_reference(buffers, questions, *found)
            for step in range(derived.steps):
                questions = run.plan.sampler.of_step(step)
                result = learner.step([buffer.batch(questions) for buffer in buffers])
                if result.reference_logp_qgk is not None:
                    _keep_reference(buffers, questions, result.reference_logp_qgk, result.scored_qgk)
                yield result


def _keep_reference(
    buffers: Sequence[RolloutBuffer], questions: Sequence[str], reference_qgk: Tensor, scored_qgk: Tensor
) -> None:
    """Each buffer keeps its group's reference log-probs, so that the next epoch need not compute them."""
    for g, buffer in enumerate(buffers):
        rows = zip(questions, reference_qgk[:, g].float(), scored_qgk[:, g], strict=True)
        for question_id, row, mask in rows:
            buffer.store_reference(question_id, row[mask].numpy())
