"""What was said before the run is fixed once a cell is finished: what is compared, how, and what was predicted."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from trialign_ray.config.base import content_sha256
from trialign_ray.config.compare import CompareSpec
from trialign_ray.config.game import load_game
from trialign_ray.entrypoints.compare.folder import CompareFolder
from trialign_ray.errors import CheckpointError


def register(spec: CompareSpec, folder: CompareFolder) -> None:
    """Keep what `spec` names, or compare it with what was kept before the first cell was finished.

    Raises CheckpointError where contrasts, what is asked, what all arms share, or an algorithm or a regime that was
    there were changed since; seeds, algorithms and regimes may be added.
    """
    file, said = folder.root.child("registered.json"), registration(spec)
    if not folder.finished():
        folder.write("registered.json", json.dumps(said, indent=2) + "\n")
        return
    if not file.exists():
        raise CheckpointError(f"{file.uri}: is missing, though cells are finished. Restore it, or give another 'name'.")
    for field, digest in (_BEFORE | json.loads(folder.read(file))).items():
        if said.get(field, digest) != digest:
            raise CheckpointError(
                f"{file.uri}: field '{field}' was changed after the first cell was finished. Restore what "
                f"{folder.root.child('compare.json').uri} and the files that it names had, or give the comparison "
                "another 'name'."
            )


def registration(spec: CompareSpec) -> dict[str, str]:
    """Field -> hash of what must not be chosen by its result; of questions and groups their content.

    Model, logs and text are left to the key of each cell, which counts their content.
    """
    evaluation = spec.evaluation
    questions, groups = load_game(evaluation.questions, evaluation.groups, under="evaluation.")
    fields: dict[str, Any] = {
        "contrasts": [contrast.model_dump(mode="json") for contrast in spec.contrasts],
        "evaluation": evaluation.model_dump(mode="json", exclude={"questions", "groups", "text", "cluster"}),
        "evaluation.cluster": evaluation.cluster,
        "evaluation.questions": content_sha256(questions),
        "evaluation.groups": content_sha256(groups),
        "base": {name: value for name, value in spec.base.items() if name not in ("model", "logs")},
    }
    for name, arm in spec.algorithms.items():
        fields[f"algorithms.{name}"] = arm.model_dump(mode="json", exclude={"seeds"})
    for name, regime in spec.regimes.items():
        fields[f"regimes.{name}.predicted"] = regime.predicted
        asked = regime.model_dump(mode="json", include={"logs", "train"})
        fields |= {f"regimes.{name}.{field}": value for field, value in asked.items()}
    return {field: _hash(value) for field, value in fields.items()}


def _hash(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


_BEFORE = {"evaluation.cluster": _hash("question")}
"""Of fields that a registration may lack, since they were not there when it was made: what it stood for."""
