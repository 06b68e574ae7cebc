"""The guard's verdict: which attention makes a model's log-probs exact, or why none does.

Nothing is known about families. A small copy of the configuration is compared under the attention that a run asks for,
then over one response a row, and what is not equal is refused before anything starts. That is done on a CPU, wherever
the run goes; `exact_on` compares again on a run's own device, whose kernels are others.
"""

from __future__ import annotations

import json
import logging
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from transformers import CONFIG_MAPPING, AutoConfig

from trialign_ray.config.attention import ATTENTION, ApartSpec
from trialign_ray.config.base import Strict
from trialign_ray.config.seams import build
from trialign_ray.config.train import Trained
from trialign_ray.errors import ModelError
from trialign_ray.trainer.attention.base import AttentionBackend, has_backward
from trialign_ray.trainer.guard.examine import Examined, examine


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a model's log-probs are computed exactly."""

    attention: Strict | None
    """Specification of the backend; None where none is exact."""
    finding: Examined
    """Of that backend, or of the last one that was tried."""
    packed: bool = False
    """Over trees, or else over one response a row."""
    why: str = ""
    """Why not over trees, or not at all."""

    @property
    def word(self) -> str:
        """For tables."""
        return "refused" if self.attention is None else "exact" if self.packed else "exact, unpacked"


_JUDGED: dict[tuple[str, str, str], Verdict] = {}
"""By what was asked, so that a process examines a model once."""


def judge(config: Any, spec: Strict, trained: Trained | None = None) -> Verdict:
    """The verdict on models of `config` (a `transformers.PreTrainedConfig`) under the attention `spec`. Takes seconds.

    trained: whose gradients are compared too. Raises SpecError where `spec` cannot be imported.
    """
    asked = (json.dumps(config.to_dict(), sort_keys=True, default=str), repr(spec), repr(trained))
    if asked not in _JUDGED:
        _JUDGED[asked] = _judge(config, spec, trained)
    return _JUDGED[asked]


def _judge(config: Any, spec: Strict, trained: Trained | None) -> Verdict:
    backend: AttentionBackend = build(ATTENTION, spec)
    found = examine(config, backend, trained)
    if not found.wrong:
        return Verdict(spec, found, packed=backend.implementation is not None)
    if getattr(spec, "name", None) != "auto":
        return Verdict(None, found, why=found.wrong)
    apart = examine(config, build(ATTENTION, ApartSpec()), trained)
    if not apart.wrong:
        return Verdict(ApartSpec(), apart, why=found.wrong)
    both = found.wrong if apart.wrong == found.wrong else f"{found.wrong}; one response a row: {apart.wrong}"
    return Verdict(None, apart, why=both)


def exact_attention(
    config: Any, spec: Strict, trained: Trained | None = None, device: Literal["cpu", "cuda"] = "cpu"
) -> AttentionBackend:
    """The backend under which models of `config` are exact: `spec`'s, or under 'auto' one without trees.

    device: where what is `trained` gets its gradients. Raises ModelError, which names the feature, where there is none
    or it has no backward there, and SpecError.
    """
    verdict, name, log = judge(config, spec, trained), _name(spec), logging.getLogger(__name__)
    if verdict.attention is None:
        fix = "Use a model that docs/models.md has as exact." if name == "auto" else "Try learner.attention 'auto'."
        raise ModelError(_wrong(config, name, verdict.why, fix))
    backend: AttentionBackend = build(ATTENTION, verdict.attention)
    if trained is not None and not has_backward(backend, device):
        raise ModelError(
            f"attention '{name}' has no backward on a {device.upper()}, where this run would train. Set learner.gpu, "
            "or learner.attention 'auto'."
        )
    if trained is not None and math.isnan(verdict.finding.gradient_error):
        log.warning("attention '%s' has no backward on a CPU: its gradients are judged on the run's device", name)
    if not verdict.packed and name != "apart":
        log.warning("exact, but slower, with one response a row: %s", verdict.why)
    return backend


def exact_on(device: torch.device, config: Any, spec: Strict, trained: Trained | None = None) -> None:
    """Compare once more on the device of a run, with the backend that `exact_attention` chooses for it.

    Raises ModelError where it is not exact there, and as `exact_attention` does. What cannot run at all there is only
    logged: in float32 a kernel may need more of a GPU than in the run's precision, and one that needs too much there
    too ends the run's first step.
    """
    chosen = exact_attention(config, spec, trained, "cuda" if device.type == "cuda" else "cpu")
    found = examine(config, chosen, trained, device)
    if not found.ran:
        logging.getLogger(__name__).warning("not judged in float32 on '%s': %s", device.type, found.wrong)
    elif found.wrong:
        other = "Score on a CPU" if trained is None else "Choose learner.attention 'matmul' or 'apart'"
        fix = f"{other}, and report which GPU and PyTorch it was."
        raise ModelError(_wrong(config, f"{_name(spec)}' on '{device.type}", found.wrong, fix))


def _name(spec: Strict) -> str:
    return getattr(spec, "name", "import_path")


def _wrong(config: Any, attention: str, why: str, fix: str) -> str:
    return f"models of type '{config.model_type}' would get wrong log-probs (attention '{attention}'): {why}. {fix}"


def config_from(shape: dict[str, Any]) -> Any:
    """The configuration that a config.json holds. Raises ModelError."""
    kind = str(shape.get("model_type"))
    try:
        return CONFIG_MAPPING[kind].from_dict(shape)
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise ModelError(f"config.json: no model that transformers knows (model_type '{kind}'): {error}") from error


def config_of(folder: Path) -> Any:
    """The configuration of the model in `folder`. Raises ModelError."""
    file = folder / "config.json"
    if not file.is_file():
        raise ModelError(f"{folder}: no config.json. Give a folder that holds a Hugging Face model.")
    try:
        return AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{file}: not of a model that transformers knows: {error}") from error
