"""Whether a job's model would get exact log-probs, by the library's guard, and what memory its training needs.

Both run the code of transformers on the model's configuration, so they are imported in the confined process only.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from trialign_api.confined import Confined
from trialign_api.schemas import MemoryEstimate
from trialign_ray.config.attention import AutoAttentionSpec
from trialign_ray.config.tasks import AuditSpec
from trialign_ray.config.train import TrainSpec
from trialign_ray.errors import naming
from trialign_ray.io.storage import locate, reading

_MOST = 256
_KNOWN: dict[str, Found] = {}
"""By what was asked: the guard takes seconds, and what it says of a configuration never changes."""


@dataclass(frozen=True, slots=True)
class Found:
    """What a model's configuration says about a job."""

    warnings: list[str] = field(default_factory=list)
    """What to know about the log-probs."""
    memory: MemoryEstimate | None = None
    """Of a training run."""


async def of(confined: Confined, spec: Any, longest: int) -> Found:
    """About a job that scores responses. Raises ModelError where they would be wrong.

    longest: prompt and response of the logs together, in tokens.
    """
    if not (isinstance(spec, TrainSpec) or (isinstance(spec, AuditSpec) and spec.model and spec.read == "score")):
        return Found()
    config = await confined.run(configuration, model=spec.model)
    training = spec if isinstance(spec, TrainSpec) else None
    read = (training.learner, training.trained, longest) if training else ()
    asked = f"{json.dumps(config, sort_keys=True)} {read}"
    if asked not in _KNOWN:
        told = await confined.run(judged, config=config, training=training, longest=longest)
        memory = told["memory"] and MemoryEstimate(**told["memory"], total=sum(told["memory"].values()))
        found = Found(told["warnings"], memory)
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


def judged(config: dict[str, Any], training: TrainSpec | None, longest: int) -> dict[str, Any]:
    """`Found` as JSON. Raises ModelError. Takes seconds, most of them to import PyTorch."""
    import torch

    from trialign_ray.entrypoints.plan import least
    from trialign_ray.trainer.guard.verdict import config_from, exact_attention, judge

    torch.set_num_threads(1)  # each thread takes address space, which is limited here
    asked = (training.learner.attention, training.trained) if training else (AutoAttentionSpec(),)
    with naming("model"):
        made = config_from(config)
        exact_attention(made, *asked, *([training.learner.device] if training else []))
        memory = None if training is None else least(training, made, longest)
    verdict = judge(made, *asked)
    slower = [] if verdict.packed else [f"'model': exact, but slower, with one response a row: {verdict.why}."]
    return {"warnings": slower, "memory": memory}
