"""Group actors as their callers see them: what Ray makes of a `GroupActor`, with its types."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ParamSpec, Protocol, TypeVar

from trialign_ray.actors.state import GroupState, GroupStatus, Statistics
from trialign_ray.data.batch import Floats, GroupBatch

if TYPE_CHECKING:
    from ray import ObjectRef

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


class RemoteMethod(Protocol[Parameters, Result]):
    """A method of an actor: `remote` returns at once."""

    def remote(self, *args: Parameters.args, **kwargs: Parameters.kwargs) -> ObjectRef[Result]:
        """A reference to the result; the actor answers its calls in their order."""
        ...


class GroupActorHandle(Protocol):
    """Handle of a `GroupActor`; see there for what the methods do."""

    questions: RemoteMethod[[], int]
    sample: RemoteMethod[[Sequence[str]], GroupBatch]
    store_reference: RemoteMethod[[Sequence[str], Sequence[Floats]], None]
    record: RemoteMethod[[Statistics], None]
    status: RemoteMethod[[], GroupStatus]
    state: RemoteMethod[[], GroupState]
    load_state: RemoteMethod[[GroupState], None]
    request_stop: RemoteMethod[[], None]
    stop_requested: RemoteMethod[[], bool]
