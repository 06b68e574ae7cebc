"""`trialign export`: the adapter and a merged model, both loaded again and compared with the trained policy.

The trained policy is the base model in the run's dtype with the run's adapter, unmerged. They are compared over the
whole vocabulary at every token of some logged responses. A merged model rounds the sum of base and adapter once, so it
is held to a bound on its divergence, looser in bfloat16.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc
import torch
from torch import Tensor

from trialign_ray.data.dataset import manifest, read_logs
from trialign_ray.errors import CheckpointError, ExportError
from trialign_ray.io.cache import local_folder, upload_folder
from trialign_ray.io.run_folder import RunFolder
from trialign_ray.io.storage import locate, sibling
from trialign_ray.models.loading import load_adapted, load_model, load_policy, load_tokenizer, model_hash

_PROBES = 16
ADAPTER_BOUND = 1e-6
"""Largest difference of log-probs: the same numbers are loaded, so none is expected."""
MERGED_BOUND = {"float32": 1e-5, "bfloat16": 0.01}
"""Largest mean KL divergence of the merged model from the policy, in nats a token."""


@dataclass(frozen=True, slots=True)
class Probe:
    """A logged prompt with its response."""

    ids: list[int]
    start: int
    """Where the response begins."""


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written and how close it is, over every token of some logged responses and the whole vocabulary."""

    adapter: str
    merged: str
    responses: int
    tokens: int
    adapter_difference: float
    """Largest difference of a log-prob between the trained policy and the adapter that was loaded again."""
    merged_divergence: float
    """Mean over tokens of KL(policy || merged), in nats."""
    same_likeliest_token: float
    """Share of the tokens on which policy and merged model agree on the likeliest."""
    merged_bound: float
    """What `merged_divergence` may be."""


def export(run: str, target: str | None = None) -> Exported:
    """Write `<target>/adapter` and `<target>/merged`, by default into the run's own folder `export`.

    `run` and `target` are paths or pyarrow filesystem URIs.

    Raises CheckpointError, ModelError and ExportError; then nothing is written.
    """
    folder = RunFolder(locate(run))
    spec = folder.read_spec()
    if not folder.trained():
        raise CheckpointError(f"{folder.root.uri}: training has not ended, there is no adapter. Use --resume first.")
    place = folder.root.child("export") if target is None else locate(target)
    if place.exists():
        raise ExportError(f"{place.uri}: exists already. Choose another --target.")
    model, adapter = local_folder(spec.model), local_folder(folder.part("adapter"))
    staging = sibling(place.local or Path(tempfile.gettempdir()) / "trialign-export", "partial")
    try:
        _write(model, adapter, staging, spec.learner.dtype)
        compared = _compare(model, adapter, staging, spec.learner.dtype, _probes(spec.logs))
        bound = MERGED_BOUND[spec.learner.dtype]
        exported = Exported(f"{place.uri}/adapter", f"{place.uri}/merged", *compared, bound)
        (staging / "export.json").write_text(json.dumps(asdict(exported) | {"base": model_hash(model)}, indent=2))
        upload_folder(staging, place)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return exported


def _write(model: Path, adapter: Path, staging: Path, dtype: str) -> None:
    shutil.copytree(adapter, staging / "adapter")
    load_adapted(model, adapter, dtype).save_pretrained(staging / "merged", safe_serialization=True)
    load_tokenizer(model).save_pretrained(staging / "merged")


def _compare(
    model: Path, adapter: Path, staging: Path, dtype: str, probes: list[Probe]
) -> tuple[int, int, float, float, float]:
    policy = _logprobs(load_policy(model, adapter, dtype), probes)
    adapter_difference = float((policy - _logprobs(load_policy(model, staging / "adapter", dtype), probes)).abs().max())
    merged = _logprobs(load_model(staging / "merged", dtype), probes)
    divergence = float((policy.exp() * (policy - merged)).sum(-1).mean())
    agree = float((policy.argmax(-1) == merged.argmax(-1)).float().mean())
    # Not the other way round: a difference that is not a number is within no bound.
    if not (adapter_difference <= ADAPTER_BOUND and divergence <= MERGED_BOUND[dtype]):
        raise ExportError(
            "the reloaded export differs from the trained policy: "
            f"adapter by {adapter_difference:.3g} (bound {ADAPTER_BOUND}), "
            f"merged model by {divergence:.3g} nats a token (bound {MERGED_BOUND[dtype]}). Nothing was written."
        )
    return len(probes), len(policy), adapter_difference, divergence, agree


@torch.inference_mode()
def _logprobs(model: Any, probes: list[Probe]) -> Tensor:
    """Of every token of the vocabulary at every token of the responses, float32 [tokens, vocabulary]."""
    logits = [model(input_ids=torch.tensor([probe.ids])).logits[0, probe.start - 1 : -1] for probe in probes]
    return torch.cat(logits).float().log_softmax(-1)


def _probes(logs: str) -> list[Probe]:
    """Some logged responses of every group, each to another question where there are enough."""
    groups = manifest(logs).names
    each = -(-_PROBES // len(groups))
    shares = [(g * each + np.arange(each)) / (each * len(groups)) for g in range(len(groups))]
    return [probe for group, share in zip(groups, shares, strict=True) for probe in _probes_of(logs, group, share)]


def _probes_of(logs: str, group: str, shares: npt.NDArray[np.float64]) -> list[Probe]:
    """A response to the question at each share of the way through the group's questions, in [0, 1)."""
    table = read_logs(logs, group, ["question_id", "prompt_ids", "response_ids"])
    table = table.filter(pc.greater(pc.list_value_length(table["response_ids"]), 0))
    _, firsts = np.unique(np.asarray(table["question_id"].to_pylist(), dtype=np.str_), return_index=True)
    chosen = np.unique(firsts[(shares * len(firsts)).astype(np.int64)]) if len(firsts) else firsts
    rows = table.take(chosen).to_pylist()
    return [Probe(row["prompt_ids"] + row["response_ids"], len(row["prompt_ids"])) for row in rows]
