"""Work that is shared out to Ray actors, each taking the next piece when it is free."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar, cast

import ray
from ray.util import ActorPool
from ray.util.placement_group import placement_group, remove_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from trialign_ray.cluster.resources import wait_seconds
from trialign_ray.errors import ClusterError, TrialignError

if TYPE_CHECKING:
    from ray import ObjectRef

Actor = TypeVar("Actor")
Piece = TypeVar("Piece")
Result = TypeVar("Result")


@contextmanager
def reserved(needs: Mapping[str, float], workers: int) -> Iterator[PlacementGroupSchedulingStrategy]:
    """Where `workers` actors that need as much each can be started, for the time of the block.

    Raises ClusterError where the cluster does not have it free within `wait_seconds()`: without, an actor that never
    starts would hold its piece of the work for ever.
    """
    bundle = {name: amount for name, amount in needs.items() if amount}
    group = placement_group([bundle] * workers, strategy="SPREAD")
    try:
        if not group.wait(wait_seconds()):
            free = ray.available_resources()  # type: ignore[no-untyped-call]
            lacks = [f"{each * workers:g} {name} ({free.get(name, 0):g} free)" for name, each in bundle.items()]
            raise ClusterError(
                f"insufficient cluster resources for {workers} workers within {wait_seconds():g} s: they need "
                f"{', '.join(lacks)}. "
                "Ask for fewer workers, wait for other jobs to end, or add nodes."
            )
        yield PlacementGroupSchedulingStrategy(group)
    finally:
        remove_placement_group(group)


def in_pool(
    actors: Sequence[Actor], submit: Callable[[Actor, Piece], ObjectRef[Result]], pieces: Iterable[Piece], fix: str
) -> Iterator[Result]:
    """The result of each piece as it is finished, in any order; the actors end with the last one, or an error.

    Raises what an actor raised on purpose as itself, and ClusterError, which ends with `fix`, where one was lost.
    """
    try:
        yield from ActorPool(list(actors)).map_unordered(cast("Callable[[Any, Piece], Any]", submit), list(pieces))
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, TrialignError):
            raise error.cause from None
        raise
    except ray.exceptions.RayActorError as error:
        raise ClusterError(f"a worker was lost: {error}. {fix}") from None
    finally:
        for each in actors:
            ray.kill(each)  # type: ignore[arg-type]  # Ray knows only its own type of handle
