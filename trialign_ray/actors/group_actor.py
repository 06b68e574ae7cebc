"""The group actor: one social group as a Ray actor that owns its rollout buffer and knows its fairness statistics."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import cast

import ray
from ray.util.placement_group import PlacementGroup, placement_group, remove_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from trialign_ray.actors.handle import GroupActorHandle
from trialign_ray.actors.replay_buffer import BufferSpec, RolloutBuffer
from trialign_ray.actors.state import GroupState, GroupStatus, Statistics
from trialign_ray.config.derived import GROUP_CPUS
from trialign_ray.data.batch import Floats, GroupBatch
from trialign_ray.errors import ClusterError


class GroupActor:
    """Runs in its own process. What it holds beyond the logs goes into checkpoints through `state`."""

    def __init__(self, spec: BufferSpec) -> None:
        self._spec = spec
        self._buffer = RolloutBuffer(spec)
        self._statistics: Statistics = {}
        self._stop = False

    def __repr__(self) -> str:
        return f"GroupActor({self._spec.group})"

    def questions(self) -> int:
        """How many training questions this group was asked; makes the buffer's files where they are not there yet."""
        return self._buffer.questions

    def sample(self, question_ids: Sequence[str]) -> GroupBatch:
        """Candidates for these questions, as buffers that Ray hands over without a copy."""
        return self._buffer.batch(question_ids)

    def store_reference(self, question_ids: Sequence[str], logp: Sequence[Floats]) -> None:
        """Keep reference log-probs, one row of candidates for each question."""
        for question_id, row in zip(question_ids, logp, strict=True):
            self._buffer.store_reference(question_id, row)

    def record(self, statistics: Statistics) -> None:
        """Keep the group's fairness statistics (utility, weight, ...) of the last step."""
        self._statistics = statistics

    def status(self) -> GroupStatus:
        """The group at a glance."""
        return GroupStatus(self._spec.group, self._buffer.served, self._statistics)

    def state(self) -> GroupState:
        """What a checkpoint keeps of this actor."""
        return GroupState(self._spec.group, self._buffer.state(), self._statistics)

    def load_state(self, state: GroupState) -> None:
        """Continue from `state()`."""
        self._buffer.load_state(state.buffer)
        self._statistics = state.statistics

    def request_stop(self) -> None:
        """Ask the learners to write a checkpoint and end. A restart forgets it: whoever asks, repeats."""
        self._stop = True

    def stop_requested(self) -> bool:
        """Whether the learners are asked to end."""
        return self._stop


@contextmanager
def group_actors(run: str, specs: Sequence[BufferSpec], wait_seconds: float) -> Iterator[list[GroupActorHandle]]:
    """One named actor for each group, in the order of `specs`; they end with the block.

    Their resources are reserved together. Where an actor or its node dies, Ray starts it again, on another node if need
    be. Raises ClusterError where the cluster does not have them free within `wait_seconds`.
    """
    reserved = placement_group([{"CPU": GROUP_CPUS}] * len(specs), strategy="PACK", name=f"trialign-{run}-groups")
    actors: list[GroupActorHandle] = []
    try:
        if not reserved.wait(wait_seconds):
            raise ClusterError(_insufficient(len(specs), wait_seconds))
        for index, spec in enumerate(specs):
            actors.append(_start(run, spec, reserved, index))
        yield actors
    finally:
        for actor in actors:
            ray.kill(actor)  # type: ignore[arg-type]  # Ray knows only its own type of handle
        remove_placement_group(reserved)


def _start(run: str, spec: BufferSpec, reserved: PlacementGroup, index: int) -> GroupActorHandle:
    actor = (
        ray.remote(GroupActor)
        .options(
            name=f"trialign-{run}-{spec.group}",
            num_cpus=GROUP_CPUS,
            max_restarts=-1,
            max_task_retries=-1,
            scheduling_strategy=PlacementGroupSchedulingStrategy(reserved, index),
        )
        .remote(spec)
    )
    return cast(GroupActorHandle, actor)


def _insufficient(groups: int, waited: float) -> str:
    free = ray.available_resources().get("CPU", 0.0)  # type: ignore[no-untyped-call]
    return (
        f"insufficient cluster resources for {groups} group actors within {waited:g} s: each needs {GROUP_CPUS} CPU, "
        f"and {free:g} CPU are free. Wait for other jobs to end, or add nodes."
    )
