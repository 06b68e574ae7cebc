"""What a contender took for its steps, and what two of them say about each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True, slots=True)
class Measure:
    """The timed steps of one contender in one round."""

    steps: tuple[int, ...]
    """Which of the setting's steps, counted from 0."""
    seconds: tuple[float, ...]
    """Of each step, from the end of the one before it."""
    tokens: tuple[int, ...]
    """Response tokens trained in each step."""
    losses: tuple[float, ...] = ()
    """Of each step, where the contender minimises the objective of this project."""
    peak_gib: float | None = None
    """Most memory that the contender's processes held, where it was measured."""
    reported: float | None = None
    """The rate that the contender itself reports."""
    busy_before: float | None = None
    """Share of the machine that others used just before it ran: two threads of one process wait for each other at
    every kernel, so that it loses far more than this share."""

    def rate(self, steps: Sequence[int] | None = None) -> float:
        """Response tokens per second over its steps, or over those of `steps`."""
        wanted = [i for i, step in enumerate(self.steps) if steps is None or step in steps]
        return sum(self.tokens[i] for i in wanted) / sum(self.seconds[i] for i in wanted)

    def over(self, other: Measure) -> float:
        """How many times the rate of `other` this one's is, on the steps that both took."""
        common = sorted(set(self.steps) & set(other.steps))
        return self.rate(common) / other.rate(common)


def spread(values: Sequence[float]) -> dict[str, float | list[float]]:
    """The rounds' values in their order, with their median and extremes."""
    return {"per_round": list(values), "median": median(values), "min": min(values), "max": max(values)}
