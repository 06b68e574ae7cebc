"""Train a resolved run in this process, without Ray and DeepSpeed: in a notebook, or where only torch is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from trialign_ray.actors.replay_buffer import RolloutBuffer
from trialign_ray.algorithms.compose import compose
from trialign_ray.models.loading import load_model
from trialign_ray.objective.step import first_utilities
from trialign_ray.trainer.critic_games import fit_critic
from trialign_ray.trainer.learner import Learner, StepResult
from trialign_ray.trainer.memory import pass_budget
from trialign_ray.trainer.plain_engine import PlainEngine, one_process
from trialign_ray.trainer.policy import Policy, adapt
from trialign_ray.trainer.resolve import ResolvedRun


@dataclass(frozen=True, slots=True)
class LocalTraining:
    """A run that is trained step by step in this process; its steps are those of one Ray Train worker."""

    run: ResolvedRun
    policy: Policy

    @classmethod
    def of(cls, run: ResolvedRun, device: str = "cpu") -> LocalTraining:
        """The run with its model and a fresh adapter on `device`. Raises ModelError."""
        spec = run.spec
        model = load_model(run.model, spec.learner.dtype, "eager")
        policy = adapt(model, spec.lora, spec.learner, spec.seed, run.own_adapters)
        return cls(run, policy.to(device))

    def steps(self) -> Iterator[StepResult]:
        """Take the run's steps, one each time that the next result is asked for. Raises DataError."""
        run, derived = self.run, self.run.plan.derived
        engine = PlainEngine(self.policy, run.spec.optimizer, derived.steps, derived.warmup_steps)
        buffers = [RolloutBuffer(each) for each in run.buffers()]
        with one_process(engine.device):
            budget = pass_budget(self.policy.model.config, run.spec.lora, run.spec.learner, engine.device)
            objective = compose(run.spec.algorithm)
            fit_critic(objective.critic, run.plan, run.spec, engine.device)
            learner = Learner(engine, objective, first_utilities(derived.groups), budget)
            for step in range(derived.steps):
                questions = run.plan.sampler.of_step(step)
                result = learner.step([buffer.batch(questions) for buffer in buffers])
                _keep_reference(buffers, questions, result)
                yield result


def _keep_reference(buffers: Sequence[RolloutBuffer], questions: Sequence[str], result: StepResult) -> None:
    """Each buffer keeps its group's reference log-probs, so that the next epoch need not compute them."""
    if result.reference_logp_qgk is None:
        return
    for g, buffer in enumerate(buffers):
        rows = zip(questions, result.reference_logp_qgk[:, g].float(), result.scored_qgk[:, g], strict=True)
        for question_id, row, mask in rows:
            buffer.store_reference(question_id, row[mask].numpy())
