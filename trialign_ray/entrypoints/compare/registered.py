"""What was said before the run: contrasts and predictions are fixed once a cell is finished."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from trialign_ray.config.compare import CompareSpec
from trialign_ray.entrypoints.compare.folder import CompareFolder
from trialign_ray.errors import CheckpointError


def register(spec: CompareSpec, folder: CompareFolder) -> None:
    """Keep what `spec` names, or compare it with what was kept before the first cell was finished.

    Raises CheckpointError where a contrast was added, changed or removed since, or a prediction of a regime that was
    there; regimes and algorithms may be added.
    """
    file, said = folder.root.child("registered.json"), registration(spec)
    if not folder.finished():
        folder.write("registered.json", json.dumps(said, indent=2) + "\n")
        return
    if not file.exists():
        raise CheckpointError(f"{file.uri}: is missing, though cells are finished. Restore it, or give another 'name'.")
    kept = json.loads(folder.read(file))
    fix = f"Restore what {folder.root.child('compare.json').uri} has, or give the comparison another 'name'."
    if kept["contrasts"] != said["contrasts"]:
        raise CheckpointError(f"{file.uri}: field 'contrasts' was changed after the first cell was finished. {fix}")
    for regime, predicted in kept["predictions"].items():
        if said["predictions"].get(regime, predicted) != predicted:
            raise CheckpointError(
                f"{file.uri}: field 'regimes.{regime}.predicted' was changed after the first cell was finished. {fix}"
            )


def registration(spec: CompareSpec) -> dict[str, Any]:
    """Hashes of the contrasts and of each regime's prediction."""
    contrasts = [contrast.model_dump(mode="json") for contrast in spec.contrasts]
    return {
        "contrasts": _hash(json.dumps(contrasts, sort_keys=True)),
        "predictions": {name: _hash(regime.predicted) for name, regime in spec.regimes.items()},
    }


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
