"""Whether a job's model would get exact log-probs, by the library's guard, and what memory its training needs.

Both run the code of transformers on the model's configuration, so they are imported in the confined process only.
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass, field
from typing import Any

from trialign_api.confined import Confined
from trialign_api.schemas import MemoryEstimate, Plan
from trialign_api.services import machine
from trialign_ray.config.attention import AutoAttentionSpec
from trialign_ray.config.tasks import AuditSpec
from trialign_ray.config.train import TrainSpec
from trialign_ray.errors import naming
from trialign_ray.io.storage import locate, reading

_MOST = 256
_KNOWN: dict[str, Found] = {}
"""By what was asked: the guard takes seconds, and what it says of a configuration never changes."""
_FRESH_SECONDS = 60
"""How long what was free a moment ago counts as free."""
_MOST_RESPONSES, _MOST_TOKENS = 100_000, 1_000_000
"""Of a step, and of the candidates to one prompt, that are planned in the time and memory of the confined process."""
_OF_PASSES = ("tokens_per_step", "passes", "tokens_per_pass")


@dataclass(frozen=True, slots=True)
class Found:
    """What a model's configuration says about a job."""

    warnings: list[str] = field(default_factory=list)
    """What to know about the log-probs."""
    memory: MemoryEstimate | None = None
    """Of a training run."""


@dataclass(frozen=True, slots=True)
class Room:
    """The machine that jobs run on, as far as the service sees it."""

    here: bool
    """Whether it is the service's own."""
    gpu: int | None = None
    """Bytes of one of its GPUs; None where it has none, or none was asked for."""


@dataclass(frozen=True, slots=True)
class Estimates:
    """Judges jobs by their models' configurations."""

    confined: Confined
    ray_here: bool = False
    """Whether jobs run on the service's own machine, and there alone."""

    async def of(self, spec: Any, plan: Plan) -> Found:
        """About a job that scores responses, whose dry run gave `plan`. Raises ModelError where they would be wrong."""
        if not (isinstance(spec, TrainSpec) or (isinstance(spec, AuditSpec) and spec.model and spec.read == "score")):
            return Found()
        config = await self.confined.run(configuration, model=spec.model)
        training = spec if isinstance(spec, TrainSpec) else None
        room = await self._room(training)
        given = {"config": config, "training": training, "plan": plan if training else None, "room": room}
        asked = f"{json.dumps(config, sort_keys=True)} {_read(training, plan, room)}"
        if asked not in _KNOWN:
            told = await self.confined.run(judged, **given)
            found = Found(told["warnings"], told["memory"] and MemoryEstimate(**told["memory"]))
            if len(_KNOWN) >= _MOST:
                _KNOWN.clear()
            _KNOWN[asked] = found
        return _KNOWN[asked]

    async def _room(self, training: TrainSpec | None) -> Room:
        asks = self.ray_here and training is not None and training.learner.gpu
        return Room(self.ray_here, await machine.gpu_bytes() if asks else None)


def _read(training: TrainSpec | None, plan: Plan, room: Room) -> tuple[object, ...]:
    """What the answer follows from, besides the model; of memory that is free on this machine the time too."""
    if training is None:
        return ()
    changes = room.here and not training.learner.gpu
    moment = time.monotonic() // _FRESH_SECONDS if changes else 0
    return (training.learner, training.trained, training.competing(), plan.data, plan.derived, room, moment)


def configuration(model: str) -> dict[str, Any]:
    """The model's config.json."""
    folder = locate(model)
    with naming("model"), reading(folder.uri):
        text = folder.child("config.json").filesystem.open_input_stream(folder.child("config.json").path).read()
    return json.loads(text)  # type: ignore[no-any-return]  # the plan has read it before


def judged(config: dict[str, Any], training: TrainSpec | None, plan: Plan | None, room: Room) -> dict[str, Any]:
    """`Found` as JSON. Raises ModelError. Takes seconds, most of them to import PyTorch."""
    import torch

    from trialign_ray.trainer.guard.verdict import config_from, exact_attention, judge

    torch.set_num_threads(1)  # each thread takes address space, which is limited here
    asked = (training.learner.attention, training.trained) if training else (AutoAttentionSpec(),)
    with naming("model"):
        made = config_from(config)
        exact_attention(made, *asked, *([training.learner.device] if training else []))
    verdict = judge(made, *asked)
    slower = [] if verdict.packed else [f"'model': exact, but slower, with one response a row: {verdict.why}."]
    return {"warnings": slower, "memory": training and plan and estimate(made, training, plan, room)}


def estimate(config: Any, training: TrainSpec, plan: Plan, room: Room) -> dict[str, Any]:
    """`MemoryEstimate` as JSON, by `trialign plan` for a step as long as the logs' longest rows. Raises ModelError.

    config: a `transformers.PreTrainedConfig`.
    """
    from trialign_ray.data.writer import Longest
    from trialign_ray.entrypoints.plan import assumed_step, least_step, longest_pair, machine_share, plan_for

    learner, longest = training.learner, (plan.data[f"longest_{name}"] for name in ("tokens", "prompt", "response"))
    lengths = longest_pair(training, Longest(*longest))
    whole = _can_be_planned(training, plan, *lengths)
    if whole:
        step = assumed_step(training, plan.derived["groups"], *lengths)
    else:
        step = least_step(training, *lengths, _MOST_RESPONSES)
    available = room.gpu if learner.gpu else machine_share(learner) if room.here else None
    made = plan_for(config, training, step, available)
    told = asdict(made) | {"total": made.total, "fits": made.fits}
    told["advice"] = None if made.fits is None else list(made.advice)
    divided = whole and (available is not None or learner.tokens_per_pass is not None)
    return told | dict.fromkeys(() if divided else _OF_PASSES) | ({} if whole else {"object_store": None})


def _can_be_planned(training: TrainSpec, plan: Plan, prompt: int, response: int) -> bool:
    """Whether the step is no larger than one of these lengths, and that one not too large."""
    candidates = training.competing()
    tokens = prompt + (candidates.own + candidates.borrowed) * response
    few = plan.derived["most_responses_per_step"] <= _MOST_RESPONSES and tokens <= _MOST_TOKENS
    return few and not candidates.answers
