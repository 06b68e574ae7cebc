"""The group actor: one social group as a Ray actor that owns its rollout buffer and knows its fairness statistics."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import ray
from ray.util.placement_group import placement_group, remove_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from trialign_ray.actors.replay_buffer import BufferSpec, RolloutBuffer
from trialign_ray.data.batch import GroupBatch
from trialign_ray.errors import ClusterError

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

    def sample(self, question_ids: Sequence[str]) -> GroupBatch:
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


@contextmanager
def group_actors(run: str, specs: Sequence[BufferSpec], wait_seconds: float) -> Iterator[list[Any]]:
    """One named actor for each group, in the order of `specs`; they end with the block.

    Their places are reserved together. Where an actor or its node dies, Ray starts it again, on another node if need
    be. Raises ClusterError where there is no place within `wait_seconds`.
    """
    places = placement_group([{"CPU": CPUS}] * len(specs), strategy="PACK", name=f"trialign-{run}-groups")
    actors: list[Any] = []
    try:
        if not places.wait(wait_seconds):
            raise ClusterError(_no_place(len(specs), wait_seconds))
        for index, spec in enumerate(specs):
            actors.append(_start(run, spec, PlacementGroupSchedulingStrategy(places, index)))
        yield actors
    finally:
        for actor in actors:
            ray.kill(actor)
        remove_placement_group(places)


def _start(run: str, spec: BufferSpec, place: PlacementGroupSchedulingStrategy) -> Any:
    options: dict[str, Any] = {"num_cpus": CPUS, "max_restarts": -1, "max_task_retries": -1}
    actor = ray.remote(GroupActor).options(name=f"trialign-{run}-{spec.group}", scheduling_strategy=place, **options)
    return actor.remote(spec)


def _no_place(groups: int, waited: float) -> str:
    free = ray.available_resources().get("CPU", 0.0)  # type: ignore[no-untyped-call]
    return (
        f"no place for {groups} group actors within {waited:g} s: each needs {CPUS} CPU, and the cluster has {free:g} "
        "free. Wait for other jobs to end, or add nodes."
    )
