"""The guard's verdict: which attention makes a model's log-probs exact, or why none does.

Nothing is known about families. A small copy of the configuration is compared under the attention that a run asks for,
then over one response a row, and what is not equal is refused before anything starts.
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import CONFIG_MAPPING, AutoConfig

from trialign_ray.config.attention import ATTENTION, ApartSpec
from trialign_ray.config.base import Strict
from trialign_ray.config.seams import build
from trialign_ray.config.train import Trained
from trialign_ray.errors import ModelError
from trialign_ray.trainer.attention.base import AttentionBackend
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


def exact_attention(config: Any, spec: Strict, trained: Trained | None = None) -> AttentionBackend:
    """The backend under which models of `config` are exact: `spec`'s, or under 'auto' one without trees.

    Raises ModelError, which names the feature, where there is none, and SpecError.
    """
    verdict = judge(config, spec, trained)
    if verdict.attention is None:
        name = getattr(spec, "name", "import_path")
        fix = "Use a model that docs/models.md has as exact." if name == "auto" else "Try learner.attention 'auto'."
        raise ModelError(
            f"models of type '{config.model_type}' would get wrong log-probs (attention '{name}'): {verdict.why}. {fix}"
        )
    if not verdict.packed and getattr(spec, "name", None) != "apart":
        logging.getLogger(__name__).warning("exact, but slower, with one response a row: %s", verdict.why)
    backend: AttentionBackend = build(ATTENTION, verdict.attention)
    return backend


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
