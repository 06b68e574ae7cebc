"""What was said before the run is fixed once a cell is finished: what is compared, how, and what was predicted."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from trialign_ray.config.base import content_sha256
from trialign_ray.config.compare import CompareSpec
from trialign_ray.config.game import load_game
from trialign_ray.entrypoints.compare.folder import CompareFolder
from trialign_ray.errors import CheckpointError

_SEEDS = "seeds"
"""Field of the file with 'regime/arm' -> the seeds that were planned at any time; the other fields are hashes."""


def register(spec: CompareSpec, folder: CompareFolder, *, keep: bool = True) -> None:
    """Keep what `spec` names, or compare it with what was kept before the first cell was finished.

    keep: whether what `spec` adds is kept from here on. Raises CheckpointError where contrasts, what is asked, what all
    arms share, how rates are chosen, or an arm or a regime that was there were changed or removed since; seeds, arms
    and regimes may be added.
    """
    file, said = folder.root.child("registered.json"), registration(spec)
    earlier: dict[str, list[int]] = {}
    if folder.finished():
        if not file.exists():
            raise CheckpointError(
                f"{file.uri}: is missing, though cells are finished. Restore it, or give another 'name'."
            )
        kept = json.loads(folder.read(file))
        earlier = kept.pop(_SEEDS, {})
        _refuse_changes(kept, said, folder)
    if keep:
        seeds = {place: sorted({*wanted, *earlier.get(place, ())}) for place, wanted in planned_seeds(spec).items()}
        folder.write("registered.json", json.dumps(said | {_SEEDS: seeds}, indent=2) + "\n")


def registered_seeds(folder: CompareFolder) -> dict[str, list[int]]:
    """'regime/arm' -> the seeds that were planned at any time; nothing where a file is older than that."""
    file = folder.root.child("registered.json")
    found: dict[str, list[int]] = json.loads(folder.read(file)).get(_SEEDS, {}) if file.exists() else {}
    return found


def planned_seeds(spec: CompareSpec) -> dict[str, list[int]]:
    """'regime/arm' -> the seeds that `spec` wants."""
    return {
        f"{label}/{name}": sorted(spec.seeds_of(arm, regime))
        for label, regime in spec.regimes.items()
        for name, arm in spec.trained_in(label).items()
    }


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
        "validation": spec.validation.model_dump(mode="json"),
        "base": {name: value for name, value in spec.base.items() if name not in ("model", "logs")},
    }
    fields |= {f"references.{name}": name for name in spec.references}
    fields |= {f"learning_rates.{family}": list(rates) for family, rates in spec.learning_rates.items()}
    for name, arm in spec.algorithms.items():
        defaults = {field: info.default for field, info in type(arm.algorithm).model_fields.items() if field in _LATER}
        later = {field for field, default in defaults.items() if getattr(arm.algorithm, field) == default}
        fields[f"algorithms.{name}"] = arm.model_dump(mode="json", exclude={"seeds": True, "algorithm": later})
    for name in spec.regimes:
        fields |= _of_regime(spec, name)
    return {field: _hash(value) for field, value in fields.items()}


def _of_regime(spec: CompareSpec, name: str) -> dict[str, Any]:
    regime = spec.regimes[name]
    asked = regime.model_dump(mode="json", include={"predicted", "logs", "train"})
    groups = None if regime.groups is None else load_game(spec.evaluation.questions, regime.groups)[1]
    asked["groups"] = None if groups is None else content_sha256(groups)
    asked |= {f"algorithms.{arm}": True for arm in spec.trained_in(name)}
    return {f"regimes.{name}.{field}": value for field, value in asked.items()}


def _refuse_changes(kept: Mapping[str, str], said: Mapping[str, str], folder: CompareFolder) -> None:
    for field, digest in (_BEFORE | dict(kept)).items():
        if said.get(field) != digest:
            what = "changed" if field in said else "removed"
            raise CheckpointError(
                f"{folder.root.child('registered.json').uri}: field '{field}' was {what} after the first cell was "
                f"finished. Restore what {folder.root.child('compare.json').uri} and the files that it names had, or "
                "give the comparison another 'name'."
            )


def _hash(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


_LATER = ("utility_of",)
"""Fields of algorithms that older registrations have not: not counted at their default."""
_BEFORE = {"evaluation.cluster": _hash("question")}
"""Of fields that a registration may lack, since they were not there when it was made: what it stood for."""
