"""Where a local model lies and runs, whichever way it is asked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pydantic import JsonValue

from trialign_ray.config.evaluate import EvaluateSpec
from trialign_ray.config.tasks import AuditSpec
from trialign_ray.errors import naming
from trialign_ray.io.cache import local_folder
from trialign_ray.models.loading import adapter_hash, model_hash
from trialign_ray.models.placement import Place


@dataclass(frozen=True, slots=True)
class ModelFolder:
    """A model, perhaps with an adapter, and where it runs."""

    model: Path
    adapter: Path | None
    device: str
    dtype: str

    @property
    def field(self) -> str:
        """The specification's field to blame where it cannot be loaded."""
        return "model" if self.adapter is None else "adapter"

    def facts(self) -> dict[str, JsonValue]:
        """For the report: hashes, device and precision. Raises ModelError where files are missing."""
        with naming("model"):
            facts: dict[str, JsonValue] = {"model_hash": model_hash(self.model)}
        with naming("adapter"):
            facts["adapter_hash"] = None if self.adapter is None else adapter_hash(self.adapter)
        return facts | {"device": self.device, "dtype": self.dtype}


def model_folder(spec: AuditSpec | EvaluateSpec, gpus_per_worker: float | None = None) -> ModelFolder:
    """The model that `spec` names, fetched where it lies elsewhere. Raises ModelError and DataError.

    gpus_per_worker: of workers that run it in the place of this process.
    """
    with naming("device"):
        place = Place.of(spec.device, spec.dtype, gpus_per_worker)
    with naming("model"):
        model = local_folder(str(spec.model))
    with naming("adapter"):
        adapter = None if spec.adapter is None else local_folder(spec.adapter)
    return ModelFolder(model, adapter, place.device, place.dtype)
