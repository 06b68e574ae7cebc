"""The logs of a cell as its regime changes them, written once and shared by all arms and seeds."""

from __future__ import annotations

import hashlib

import pyarrow as pa
import pyarrow.compute as pc

from trialign_ray.config.compare import CompareSpec, LogChanges
from trialign_ray.data.dataset import manifest, open_dataset, read_logs, write_logs
from trialign_ray.data.manifest import MANIFEST
from trialign_ray.data.regimes import changed_logs
from trialign_ray.entrypoints.compare.cells import Cell
from trialign_ray.entrypoints.compare.folder import CompareFolder

_LAYOUT = 2
"""Of what `changed_logs` makes of the same changes: logs of another one are made anew."""


def logs_of(spec: CompareSpec, cell: Cell) -> str:
    """Where the cell's logs are: those of its specification where nothing is changed. Raises DataError."""
    if cell.changes == LogChanges() and not cell.validation:
        return cell.train.logs
    content = manifest(cell.train.logs).content_sha256
    name = f"{_LAYOUT}\0{content}\0{cell.changes.model_dump_json()}\0{cell.validation}"
    target = CompareFolder.of(spec).root.child("logs").child(hashlib.sha256(name.encode()).hexdigest()[:16])
    if not target.child(MANIFEST).exists():
        dataset = open_dataset(cell.train.logs)
        table = read_logs(dataset)
        kept = pc.invert(pc.is_in(table["question_id"], pa.array(cell.validation, pa.string())))
        groups = [group for group in dataset.manifest.names if group not in cell.changes.without_groups]
        write_logs(changed_logs(table.filter(kept), cell.changes), target, groups)
    return target.uri
