"""The group actor: one social group as a Ray actor that owns its rollout buffer and knows its fairness statistics."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import ray

from trialign_ray.agents.buffer import BufferSpec, RolloutBuffer
from trialign_ray.agents.share import GroupShare

CPUS = 0.02
"""A group looks rows up and waits; learners need the cores."""


class GroupActor:
    """Runs in its own process. What it holds beyond the logs goes into checkpoints through `state`."""

    def __init__(self, spec: BufferSpec) -> None:
        self._spec = spec
        self._buffer = RolloutBuffer(spec)
        self._statistics: dict[str, float] = {}
        self._stop = False

    def __repr__(self) -> str:
        return f"GroupActor({self._spec.group})"

    def question_ids(self) -> tuple[str, ...]:
        """Training questions that this group was asked, sorted."""
        return self._buffer.question_ids

    def sample(self, question_ids: Sequence[str]) -> GroupShare:
        """Candidates for these questions, as buffers that Ray hands over without a copy."""
        return self._buffer.share(question_ids)

    def store_reference(self, question_ids: Sequence[str], logp: Sequence[Sequence[float]]) -> None:
        """Keep reference log-probs, one row of candidates for each question."""
        for question_id, row in zip(question_ids, logp, strict=True):
            self._buffer.store_reference(question_id, row)

    def record(self, statistics: dict[str, float]) -> None:
        """Keep the group's fairness statistics (utility, weight, ...) of the last step."""
        self._statistics = statistics

    def status(self) -> dict[str, Any]:
        """The group at a glance."""
        return {"group": self._spec.group, "served": self._buffer.served, **self._statistics}

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps of this actor."""
        return {"group": self._spec.group, "buffer": self._buffer.state(), "statistics": self._statistics}

    def load_state(self, state: dict[str, Any]) -> None:
        """Continue from `state()`."""
        self._buffer.load_state(state["buffer"])
        self._statistics = state["statistics"]

    def request_stop(self) -> None:
        """Ask the learners to write a checkpoint and end."""
        self._stop = True

    def stop_requested(self) -> bool:
        """Whether they are asked to."""
        return self._stop


def start_groups(run: str, specs: Sequence[BufferSpec]) -> list[Any]:
    """One named actor for each group, that Ray starts again where it dies; in the order of `specs`."""
    actor = ray.remote(GroupActor)
    return [
        actor.options(name=f"trialign-{run}-{spec.group}", num_cpus=CPUS, max_restarts=-1, max_task_retries=-1).remote(
            spec
        )
        for spec in specs
    ]
