"""What is killed, and when: drawn from a seed, so that a run can be had again."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Literal, get_args

Kind = Literal["api", "head", "driver", "group", "rank"]
"""The service's process; gcs and raylet of the head; a job's own process; a group's actor; a learner."""
KINDS: tuple[Kind, ...] = get_args(Kind)
MOST_SECONDS = 25.0
"""From the moment at which there is something to kill: time enough for a job to start, train and write a checkpoint."""


@dataclass(frozen=True, slots=True)
class Kill:
    """One SIGKILL."""

    kind: Kind
    seconds: float
    """To wait once a process of that kind is there."""
    which: float
    """In [0, 1): which one, where there are several."""


def draw(kills: int, seed: int) -> list[Kill]:
    """Every kind as often as the others, or once more, in a random order."""
    chance = random.Random(seed)
    kinds = [KINDS[at % len(KINDS)] for at in range(kills)]
    chance.shuffle(kinds)
    return [Kill(kind, chance.uniform(0.0, MOST_SECONDS), chance.random()) for kind in kinds]
