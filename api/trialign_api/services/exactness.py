"""Whether a job's model would get exact log-probs: the guard of the library, on a small copy of its configuration.

It runs the code of transformers, so it is imported in the confined process only.
"""

from __future__ import annotations

import json
from typing import Any

from trialign_api.confined import Confined
from trialign_ray.config.attention import AutoAttentionSpec
from trialign_ray.config.tasks import AuditSpec
from trialign_ray.config.train import TrainSpec
from trialign_ray.errors import naming
from trialign_ray.io.storage import locate, reading

_MOST = 256
_KNOWN: dict[str, list[str]] = {}
"""Warnings by what was asked: the guard takes seconds, and a configuration's verdict never changes."""


async def warnings_of(confined: Confined, spec: Any) -> list[str]:
    """What to know about the log-probs of a job that scores responses. Raises ModelError where they would be wrong."""
    if not (isinstance(spec, TrainSpec) or (isinstance(spec, AuditSpec) and spec.model and spec.read == "score")):
        return []
    config = await confined.run(configuration, model=spec.model)
    options = {"attention": spec.learner.attention, "lora": spec.lora} if isinstance(spec, TrainSpec) else {}
    asked = f"{json.dumps(config, sort_keys=True)} {options}"
    if asked not in _KNOWN:
        found = await confined.run(judged, config=config, **options)
        if len(_KNOWN) >= _MOST:
            _KNOWN.clear()
        _KNOWN[asked] = found
    return _KNOWN[asked]


def configuration(model: str) -> dict[str, Any]:
    """The model's config.json."""
    folder = locate(model)
    with naming("model"), reading(folder.uri):
        text = folder.child("config.json").filesystem.open_input_stream(folder.child("config.json").path).read()
    return json.loads(text)  # type: ignore[no-any-return]  # the plan has read it before


def judged(config: dict[str, Any], attention: Any = None, lora: Any = None) -> list[str]:
    """The guard's verdict on a configuration. Raises ModelError. Takes seconds, most of them to import PyTorch."""
    import torch

    from trialign_ray.trainer.guard.verdict import config_from, exact_attention, judge

    torch.set_num_threads(1)  # each thread takes address space, which is limited here
    spec = attention or AutoAttentionSpec()
    with naming("model"):
        made = config_from(config)
        exact_attention(made, spec, lora)
    verdict = judge(made, spec, lora)
    return [] if verdict.packed else [f"'model': exact, but slower, with one response a row: {verdict.why}."]
