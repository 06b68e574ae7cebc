"""`trialign export`: the adapter and a merged model, both loaded again and compared with the trained policy.

The trained policy is the base model in the run's dtype with the run's adapter, unmerged. A merged model rounds the sum
of base and adapter once, so in bfloat16 it is held to a looser bound.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from trialign_ray.errors import CheckpointError, ExportError
from trialign_ray.logs.dataset import manifest, read_logs
from trialign_ray.logs.storage import locate, sibling
from trialign_ray.models import load_adapted, load_model, load_policy, load_tokenizer, model_hash
from trialign_ray.places import local_folder, upload_folder
from trialign_ray.runs import RunFolder

_PROMPTS = 16
ADAPTER_BOUND = 1e-6
"""Largest difference of log-probs: the same numbers are loaded, so none is expected."""
MERGED_BOUND = {"float32": 1e-3, "bfloat16": 0.25}
"""Largest mean difference over prompts of the likeliest token's log-prob, merged against unmerged."""


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written and how close it is; differences are of log-probs, over the prompts' last positions."""

    adapter: str
    merged: str
    prompts: int
    adapter_difference: float
    merged_difference: float
    same_likeliest_token: float
    """Share of the prompts on which policy and merged model agree on the next token."""


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
        compared = _compare(model, adapter, staging, spec.learner.dtype, _prompts(spec.logs))
        exported = Exported(f"{place.uri}/adapter", f"{place.uri}/merged", *compared)
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
    model: Path, adapter: Path, staging: Path, dtype: str, prompts: list[list[int]]
) -> tuple[int, float, float, float]:
    policy = _last_logprobs(load_policy(model, adapter, dtype), prompts)
    again = _last_logprobs(load_policy(model, staging / "adapter", dtype), prompts)
    merged = _last_logprobs(load_model(staging / "merged", dtype), prompts)
    adapter_difference = float((policy - again).abs().max())
    likeliest = policy.argmax(-1, keepdim=True)
    merged_difference = float((policy - merged).gather(1, likeliest).abs().mean())
    agree = float((likeliest[:, 0] == merged.argmax(-1)).float().mean())
    # Not the other way round: a difference that is not a number is within no bound.
    if not (adapter_difference <= ADAPTER_BOUND and merged_difference <= MERGED_BOUND[dtype]):
        raise ExportError(
            "the reloaded export differs from the trained policy: "
            f"adapter by {adapter_difference:.3g} (bound {ADAPTER_BOUND}), "
            f"merged model by {merged_difference:.3g} (bound {MERGED_BOUND[dtype]}). Nothing was written."
        )
    return len(prompts), adapter_difference, merged_difference, agree


@torch.inference_mode()
def _last_logprobs(model: Any, prompts: list[list[int]]) -> Tensor:
    rows = [model(input_ids=torch.tensor([ids])).logits[0, -1].float().log_softmax(-1) for ids in prompts]
    return torch.stack(rows)


def _prompts(logs: str) -> list[list[int]]:
    """Some prompts of the logs, over all groups."""
    groups = manifest(logs).names
    each = -(-_PROMPTS // len(groups))
    found = [read_logs(logs, group, ["prompt_ids"])["prompt_ids"][:each].to_pylist() for group in groups]
    return [ids for rows in found for ids in rows][:_PROMPTS]
