"""What must hold after the kills: pure functions of what was ordered and what was found, each giving what does not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from tests.chaos.evidence import Evidence
from tests.chaos.orders import Order


@dataclass(frozen=True, slots=True)
class Sight:
    """What was seen besides the jobs themselves."""

    listed: Mapping[str, Sequence[str]]
    """Owner -> names of all jobs that the service lists for it."""
    foreign: Sequence[str] = ()
    """Jobs, each with another owner who could see it."""
    left: Sequence[str] = ()
    """Submissions that Ray still runs."""
    drivers: Mapping[str, int] = field(default_factory=dict)
    """Job -> most processes of its own that were alive at once."""
    writers: Mapping[str, int] = field(default_factory=dict)
    """Job -> most learners that wrote its metrics at once."""


def problems(
    orders: Sequence[Order], found: Sequence[Evidence], reference: Mapping[str, Evidence], sight: Sight
) -> list[str]:
    """All that does not hold, in words. reference: template -> what is left of it where nothing was killed."""
    by_name = {each.name: each for each in found}
    told = [*_lost_or_doubled(orders, sight), *(f"{each}: seen by another owner" for each in sight.foreign)]
    told += [f"{each}: still runs on Ray" for each in sight.left]
    for order in orders:
        if (each := by_name.get(order.name)) is not None:
            told += [*_end(order, each), *_starts(each), *_alone(each, sight), *_trace(each)]
            told += _unequal(order, each, reference)
    return told


def _lost_or_doubled(orders: Sequence[Order], sight: Sight) -> Iterator[str]:
    for owner in sorted({order.owner for order in orders} | {*sight.listed}):
        wanted = Counter(order.name for order in orders if order.owner == owner)
        there = Counter(sight.listed.get(owner, ()))
        for name in sorted(wanted | there):
            if there[name] != wanted[name]:
                yield f"{name}: {owner} submitted {wanted[name]} and finds {there[name]}"


def _end(order: Order, found: Evidence) -> Iterator[str]:
    if (found.status, found.error) != (order.ends, order.error):
        yield f"{found.name}: ends {found.status} ({found.error}) and not {order.ends} ({order.error})"


def _starts(found: Evidence) -> Iterator[str]:
    """Each attempt is told to Ray under its own id, once, and a job that is refused never."""
    attempts = found.attempt if found.starts else 0
    if list(found.starts) != [f"{found.job}-a{number}" for number in range(1, attempts + 1)]:
        yield f"{found.name}: attempt {found.attempt}, started as {', '.join(found.starts)}"


def _alone(found: Evidence, sight: Sight) -> Iterator[str]:
    for what, seen in (("processes", sight.drivers), ("learners that write", sight.writers)):
        if seen.get(found.job, 0) > 1:
            yield f"{found.name}: {seen[found.job]} {what} at once"


def _trace(found: Evidence) -> Iterator[str]:
    """Every step once and in order, cut short or not, and the service tells what the run's folder tells."""
    if [step for step, _ in found.trace] != list(range(1, len(found.trace) + 1)):
        yield f"{found.name}: steps {[step for step, _ in found.trace]}"
    if found.kept != found.trace:
        yield f"{found.name}: the service kept {len(found.kept)} steps of {len(found.trace)}, or others"


def _unequal(order: Order, found: Evidence, reference: Mapping[str, Evidence]) -> Iterator[str]:
    if order.ends != "succeeded":
        return
    whole = reference[order.template]
    if found.trace != whole.trace:
        at = next((a for a, b in zip(found.trace, whole.trace, strict=False) if a != b), None)
        yield f"{found.name}: the losses of {len(found.trace)} steps differ from those of {len(whole.trace)}, from {at}"
    if found.product is None or found.product != whole.product:
        yield f"{found.name}: what it made differs from what it makes undisturbed"
