"""Where a resumed run goes on when Ray Train's own list of checkpoints is lost.

Ray Train keeps the list in one file beside the checkpoints and writes it in place, so a kill may cut it short. Ray then
refuses to start, although whole checkpoints lie beside it.
"""

from __future__ import annotations

import json

import ray.train

from trialign_ray.io.storage import Location
from trialign_ray.progress import Progress
from trialign_ray.trainer.checkpoint import newest_complete

SNAPSHOT = "checkpoint_manager_snapshot.json"


def recover(checkpoints: Location, progress: Progress) -> ray.train.Checkpoint | None:
    """The newest whole checkpoint where Ray Train's list is missing or damaged; None where the list can be used.

    A damaged list is renamed to `<name>.damaged`, and Ray begins a new one. Checkpoints of the old list stay.
    Raises DataError where the storage does not answer.
    """
    snapshot = checkpoints.child(SNAPSHOT)
    if _usable(snapshot, checkpoints):
        return None
    newest = newest_complete(checkpoints)
    if snapshot.exists():
        snapshot.filesystem.move(snapshot.path, f"{snapshot.path}.damaged")
    if newest is not None:
        progress.note(f"Ray's list of checkpoints is lost; going on from {newest.path.rpartition('/')[2]}")
        return ray.train.Checkpoint(newest.path, newest.filesystem)
    if checkpoints.names():
        progress.note(f"{checkpoints.uri}: no whole checkpoint found; starting over at the first step")
    return None


def _usable(snapshot: Location, checkpoints: Location) -> bool:
    """Whether the list is whole JSON and every checkpoint that it names is there."""
    if not snapshot.exists():
        return False
    with snapshot.filesystem.open_input_stream(snapshot.path) as stream:
        text = stream.read()
    try:
        listed = {result["checkpoint_dir_name"] for result in json.loads(text)["checkpoint_results"]}
    except (ValueError, KeyError, TypeError):
        return False
    return listed <= (checkpoints.names() or frozenset())
