"""`trialign export`: the adapter and a merged model, both loaded again and compared with the trained policy.

The trained policy is the base model in the run's dtype with the run's adapter, unmerged; or, where all weights were
trained, the run's model, and then there is no adapter. They are compared over the
whole vocabulary at every token of some logged responses. A merged model rounds the sum of base and adapter once, so it
is held to a bound on its divergence, looser in bfloat16.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

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
from trialign_ray.models.base import CausalLM
from trialign_ray.models.loading import load_adapted, load_model, load_policy, load_tokenizer, model_hash
from trialign_ray.trainer.guard.verdict import config_of, exact_attention

_PROBES = 16
_CHUNK = 128
"""Tokens whose log-probs over the whole vocabulary are in memory at one time."""
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

    adapter: str | None
    """None where all weights were trained; then `merged` is the trained model."""
    merged: str
    responses: int
    tokens: int
    adapter_difference: float | None
    """Largest difference of a log-prob between the trained policy and the adapter that was loaded again."""
    merged_divergence: float
    """Mean over tokens of KL(policy || merged), in nats."""
    same_likeliest_token: float
    """Share of the tokens on which policy and merged model agree on the likeliest."""
    merged_bound: float
    """Largest `merged_divergence` that is accepted."""


def export(run: str, target: str | None = None, group: str | None = None) -> Exported:
    """Write `<target>/adapter` and `<target>/merged`, by default into the run's `export` or `export-<group>`.

    `run` and `target` are paths or pyarrow filesystem URIs. group: whose adapter, where each has its own.

    Raises CheckpointError, ModelError and ExportError; then nothing is written.
    """
    folder = RunFolder(locate(run))
    spec = folder.read_spec()
    own = spec.own_adapters(manifest(spec.logs).names)
    _check_group(folder, own, group)
    full = spec.adapter == "full"
    if not folder.trained(own, full=full):
        raise CheckpointError(
            f"{folder.root.uri}: training has not ended: nothing to export. Continue it with --resume first."
        )
    default = folder.root.child("export" if group is None else f"export-{group}")
    output = default if target is None else locate(target)
    if output.exists():
        raise ExportError(f"{output.uri}: exists already. Choose another --target.")
    model = local_folder(folder.part("model") if full else spec.model)
    adapter = None if full else local_folder(folder.adapters(own)[group])
    exact_attention(config_of(model), spec.learner.attention, spec.trained, spec.learner.device)
    staging = sibling(output.local or Path(tempfile.gettempdir()) / "trialign-export", "partial")
    try:
        _write(model, adapter, staging, spec.learner.dtype)
        compared = _compare(model, adapter, staging, spec.learner.dtype, _probes(spec.logs, group))
        bound = MERGED_BOUND[spec.learner.dtype]
        exported = Exported(None if full else f"{output.uri}/adapter", f"{output.uri}/merged", *compared, bound)
        base = model_hash(local_folder(spec.model))
        (staging / "export.json").write_text(json.dumps(asdict(exported) | {"base": base}, indent=2))
        upload_folder(staging, output)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return exported


def _check_group(folder: RunFolder, own: Sequence[str], group: str | None) -> None:
    if own and group not in own:
        wrong = "each group has an adapter of its own" if group is None else f"has no group '{group}'"
        raise ExportError(f"{folder.root.uri}: {wrong}. Choose one with --group: {', '.join(own)}.")
    if group is not None and not own:
        raise ExportError(f"{folder.root.uri}: all groups share what was trained. Leave --group out.")


def _write(model: Path, adapter: Path | None, staging: Path, dtype: str) -> None:
    if adapter is None:
        shutil.copytree(model, staging / "merged")
        return
    shutil.copytree(adapter, staging / "adapter")
    load_adapted(model, adapter, dtype).save_pretrained(str(staging / "merged"), safe_serialization=True)
    load_tokenizer(model).save_pretrained(str(staging / "merged"))


def _compare(
    model: Path, adapter: Path | None, staging: Path, dtype: str, probes: list[Probe]
) -> tuple[int, int, float | None, float, float]:
    """Responses, tokens, adapter difference, merged divergence and share of equal likeliest tokens, as in `Exported`.

    One model is in memory at a time, with the log-probs of `_CHUNK` tokens at most. Those of the policy wait on disk:
    over a whole vocabulary, a few responses need more memory than a model.
    """
    with tempfile.TemporaryDirectory(prefix=".trialign-policy-", dir=staging.parent) as folder:
        kept: list[Path] = []
        policy = load_model(model, dtype) if adapter is None else load_policy(model, adapter, dtype)
        for logp_tv in _logprobs(policy, probes):
            kept.append(Path(folder) / f"{len(kept)}.pt")
            torch.save(logp_tv, kept[-1])
        del policy
        reloaded = None
        if adapter is not None:
            again = load_policy(model, staging / "adapter", dtype)
            reloaded = _Distance.between(kept, _logprobs(again, probes)).largest
            del again
        merged = _Distance.between(kept, _logprobs(load_model(staging / "merged", dtype), probes))
    divergence = merged.divergence / merged.tokens
    # Not the other way round: a difference that is not a number is within no bound.
    if not ((reloaded is None or reloaded <= ADAPTER_BOUND) and divergence <= MERGED_BOUND[dtype]):
        raise ExportError(
            "the reloaded export differs from the trained policy: "
            f"adapter by {reloaded or 0:.3g} (bound {ADAPTER_BOUND}), "
            f"merged model by {divergence:.3g} nats a token (bound {MERGED_BOUND[dtype]}). Nothing was written."
        )
    return len(probes), merged.tokens, reloaded, divergence, merged.agreeing / merged.tokens


@dataclass(slots=True)
class _Distance:
    """How far a model is from the policy, summed over tokens."""

    tokens: int = 0
    largest: float = 0.0
    """Largest difference of a log-prob; NaN where one is not a number."""
    divergence: float = 0.0
    """Sum of KL(policy || model), in nats."""
    agreeing: int = 0
    """Tokens on which both have the same likeliest one."""

    @classmethod
    def between(cls, policy: Sequence[Path], model: Iterable[Tensor]) -> Self:
        """Of the policy's log-probs in files and the model's, both in chunks of the same tokens [t, vocabulary]."""
        found = cls()
        for file, logp_tv in zip(policy, model, strict=True):
            found._add(torch.load(file, weights_only=True), logp_tv)
        return found

    def _add(self, policy_tv: Tensor, model_tv: Tensor) -> None:
        difference_tv = policy_tv - model_tv
        self.tokens += len(policy_tv)
        # numpy's maximum, as Python's own forgets a NaN.
        self.largest = float(np.maximum(self.largest, float(difference_tv.abs().max())))
        self.divergence += float((policy_tv.exp() * difference_tv).sum(-1).double().sum())
        self.agreeing += int((policy_tv.argmax(-1) == model_tv.argmax(-1)).sum())


@torch.inference_mode()
def _logprobs(model: CausalLM, probes: Sequence[Probe]) -> Iterator[Tensor]:
    """Log-probs of the whole vocabulary at every token of the responses, float32 [t, vocabulary], chunk by chunk."""
    for probe in probes:
        # The token at position t is predicted at t - 1. What follows a chunk does not change it: attention is causal.
        for start in range(probe.start - 1, len(probe.ids) - 1, _CHUNK):
            stop = min(start + _CHUNK, len(probe.ids) - 1)
            logits = model(input_ids=torch.tensor([probe.ids[:stop]]), logits_to_keep=stop - start).logits[0]
            yield logits.float().log_softmax(-1)


def _probes(logs: str, group: str | None = None) -> list[Probe]:
    """Some logged responses of `group` or else of every group, each to a different question where there are enough."""
    groups = manifest(logs).names if group is None else (group,)
    each = -(-_PROBES // len(groups))
    shares = [(g * each + np.arange(each)) / (each * len(groups)) for g in range(len(groups))]
    return [probe for name, share in zip(groups, shares, strict=True) for probe in _probes_of(logs, name, share)]


def _probes_of(logs: str, group: str, shares: npt.NDArray[np.float64]) -> list[Probe]:
    """A response to the question at each share of the way through the group's questions, in [0, 1)."""
    table = read_logs(logs, group, ["question_id", "prompt_ids", "response_ids"])
    table = table.filter(pc.greater(pc.list_value_length(table["response_ids"]), 0))
    _, firsts = np.unique(np.asarray(table["question_id"].to_pylist(), dtype=np.str_), return_index=True)
    chosen = np.unique(firsts[(shares * len(firsts)).astype(np.int64)]) if len(firsts) else firsts
    rows = table.take(chosen).to_pylist()
    return [Probe(row["prompt_ids"] + row["response_ids"], len(row["prompt_ids"])) for row in rows]
