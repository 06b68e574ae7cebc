"""Work that is shared out to Ray actors, each taking the next piece when it is free."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeVar, cast

import ray
from ray.util import ActorPool

from trialign_ray.errors import ClusterError, TrialignError

if TYPE_CHECKING:
    from ray import ObjectRef

Actor = TypeVar("Actor")
Piece = TypeVar("Piece")
Result = TypeVar("Result")


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
