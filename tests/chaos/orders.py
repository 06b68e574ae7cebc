"""What the two owners submit: jobs of every kind, with one that is wrong and one that is cancelled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tests.world import World

ADA, BOB = "ada", "bob"
RETRIES = 20
"""More than there are kills that cost one: no job may end because its retries did."""
EPOCHS = 60
"""Of two steps each."""


@dataclass(frozen=True, slots=True)
class Order:
    """A job that an owner submits, and how it is to end."""

    owner: str
    template: str
    """Orders of one template differ by their names alone, so each leaves what the others leave."""
    spec: Mapping[str, Any]
    ends: str = "succeeded"
    error: str | None = None
    """The code with which it fails."""

    @property
    def name(self) -> str:
        """Of the job; no other order has it."""
        return str(self.spec["name"])


def mix(world: World, number: int) -> list[Order]:
    """The jobs of one round, in the order in which they are submitted."""
    named = {name: f"{name}-{number}" for name in ("pair", "collect", "stopped", "single", "wrong", "audit")}
    asked: dict[str, Any] = {"model": world.model, "questions": world.questions, "groups": world.groups}
    asked |= {"split": "all", "max_new_tokens": 6, "dtype": "float32", "device": "cpu", "questions_per_batch": 1}
    collection = {"kind": "collect", "name": named["collect"], "output": f"logs/{named['collect']}", "samples": 3}
    audit = {"kind": "audit", "name": named["audit"], "bootstrap": 100}
    wrong = _train(world, named["wrong"], workers=1)
    return [
        Order(ADA, "pair", _train(world, named["pair"], workers=2)),
        Order(BOB, "single", _train(world, named["single"], workers=1)),
        Order(ADA, "collect", {**asked, **collection}),
        Order(BOB, "wrong", wrong | {"questions_per_step": 100}, "failed", "bad_spec"),
        Order(ADA, "stopped", _train(world, named["stopped"], workers=1) | {"epochs": 1000}, "cancelled"),
        Order(BOB, "audit", {**asked, **audit}),
    ]


def _train(world: World, name: str, workers: int) -> dict[str, Any]:
    # Restarts are not what is tested: a learner group that used them up would cost the job a retry.
    learner = {"workers": workers, "cpus_per_worker": 0.5, "dtype": "float32", "max_restarts": RETRIES}
    spec = world.train_spec(name, epochs=EPOCHS, checkpoint_every=10, algorithm={"kl": 0.05}, learner=learner)
    return spec.model_dump(mode="json") | {"runs": "runs"}
