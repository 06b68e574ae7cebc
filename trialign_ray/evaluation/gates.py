"""Gates for CI: `--fail-if 'gap>0.05'` fails an audit whose figures meet the condition.

A condition is a metric (`gap`, or `accuracy_by_group.neutral` for one group), perhaps `.low` or `.high` for a bound
of its interval, a comparison and a number. Several are separated by commas, or passed one by one.

Without a bound it is the measured value that counts. Chance alone adds to a measured gap, so `gap>0.05` can fail where
all groups are served alike; `gap.low>0.05` fails only where the true gap is larger, with 97.5 % confidence, and
`gap_null_p<0.05` where the asking group makes a difference.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from trialign_ray.config.game import GroupSet
from trialign_ray.config.tasks import AuditSpec
from trialign_ray.errors import GateError, SpecError, naming
from trialign_ray.evaluation.figures import (
    OF_FORM,
    OF_PREFERENCE,
    OF_SAMPLES,
    SIGNED,
    Audit,
    Figure,
    figure_names,
    is_by_group,
)

_COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_CONDITION = re.compile(r"\s*(?P<name>[^<>=\s]+)\s*(?P<comparison><=|>=|<|>)\s*(?P<number>[^<>=\s]+)\s*")
_BOUNDS = ("low", "high")


@dataclass(frozen=True, slots=True)
class Gate:
    """Fails where `metric`'s `bound` compares to `number`."""

    metric: str
    bound: str
    comparison: str
    number: float

    def __str__(self) -> str:
        bound = "" if self.bound == "value" else f".{self.bound}"
        return f"{self.metric}{bound}{self.comparison}{self.number:g}"

    def fails(self, figure: Figure) -> bool:
        """Whether the measured figure meets the condition."""
        measured: float = getattr(figure, self.bound)
        return _COMPARISONS[self.comparison](measured, self.number)


def parse_gates(conditions: Sequence[str], groups: Sequence[str]) -> tuple[Gate, ...]:
    """Read `--fail-if` conditions; `groups` are those that will be audited.

    Raises:
        SpecError: a condition cannot be read, names a metric or group that is not known, or a number that its metric
            never has.
    """
    return tuple(_parse(part, groups) for condition in conditions for part in condition.split(","))


def gates_of(spec: AuditSpec, groups: GroupSet) -> tuple[Gate, ...]:
    """The gates of an audit. Raises SpecError as `parse_gates` does, and for those that no answer could give a figure.

    How often and with which preferences the rows of a file were asked shows only when it is read, so then none is.
    """
    with naming("fail_if"):
        gates = parse_gates(spec.fail_if, groups.names)
        if spec.answers is None:
            refuse_unmeasurable(gates, groups, spec.samples, scored=spec.read == "score")
    return gates


def refuse_unmeasurable(gates: Sequence[Gate], groups: GroupSet, samples: int, *, scored: bool = False) -> None:
    """Raise SpecError where `unmeasurable` has something to say."""
    if told := unmeasurable(gates, groups, samples, scored=scored):
        raise SpecError(f"{len(told)} of {len(gates)} gates can have no figure:\n" + "\n".join(told))


def unmeasurable(gates: Iterable[Gate], groups: GroupSet, samples: int, *, scored: bool = False) -> list[str]:
    """Why gates can have no figure, whatever is answered: a line for each such gate.

    `samples` are the responses to each prompt; `scored` says that options are scored instead.
    """
    reasons = {gate: _unmeasurable(gate, groups, samples, scored) for gate in gates}
    return [f"'{gate}': {reason}" for gate, reason in reasons.items() if reason]


def check_gates(gates: Sequence[Gate], audit: Audit) -> None:
    """Compare every gate with the audit.

    Raises:
        SpecError: a gate's metric is not measured by this audit.
        GateError: lists every gate that fails, with the measured figure.
    """
    measured = [(gate, _measured(gate, audit)) for gate in gates]
    failed = [f"{gate} (measured {_show(figure)})" for gate, figure in measured if gate.fails(figure)]
    if failed:
        raise GateError(f"{len(failed)} of {len(gates)} gates failed:\n" + "\n".join(failed))


def known_metrics(groups: Sequence[str]) -> tuple[str, ...]:
    """Every name that a gate can use, for these groups."""
    names = ([f"{name}.{group}" for group in groups] if is_by_group(name) else [name] for name in figure_names())
    return tuple(name for part in names for name in part)


def _parse(condition: str, groups: Sequence[str]) -> Gate:
    match = _CONDITION.fullmatch(condition)
    if match is None:
        raise SpecError(
            f"--fail-if '{condition}': expected a metric, one of {' '.join(_COMPARISONS)} and a number, "
            "for instance 'gap>0.05' or 'agreement.low<0.8'."
        )
    metric, bound = _split_bound(match["name"], known_metrics(groups), condition)
    return Gate(metric, bound, match["comparison"], _number(match["number"], metric, condition))


def _split_bound(name: str, known: Sequence[str], condition: str) -> tuple[str, str]:
    metric, _, bound = name.rpartition(".")
    if name not in known and bound in _BOUNDS and metric in known:
        return metric, bound
    if name not in known:
        raise SpecError(f"--fail-if '{condition}': no metric is named '{name}'. Known: {', '.join(known)}.")
    return name, "value"


def _number(text: str, metric: str, condition: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise SpecError(f"--fail-if '{condition}': '{text}' is not a number. Shares are written 0.05, not 5 %.")
    least = -1 if metric.partition(".")[0] in SIGNED else 0
    if not least <= number <= 1:
        raise SpecError(f"--fail-if '{condition}': '{metric}' lies in {least} to 1. Shares are written 0.05, not 5.")
    return number


def _unmeasurable(gate: Gate, groups: GroupSet, samples: int, scored: bool) -> str | None:
    metric = gate.metric.partition(".")[0]
    if scored and metric in OF_FORM:
        return (
            f"scored options have no '{gate.metric}', since all are named and none has a form. Leave the gate out, or "
            "let the model answer freely (--read generate)."
        )
    if metric in OF_SAMPLES and (scored or samples == 1):
        return "one response to each prompt does not show how far a group differs from itself. " + (
            "Leave the gate out; scored options are not sampled." if scored else "Ask for more (--samples 2)."
        )
    if metric in OF_PREFERENCE and not groups.preferences:
        return "no group has a preference to follow. Give the group set 'preferences', or leave the gate out."
    return None


def _measured(gate: Gate, audit: Audit) -> Figure:
    figure = audit.flat().get(gate.metric)
    if figure is None:
        notes = " ".join(audit.notes) or "none"
        raise SpecError(f"--fail-if '{gate}': '{gate.metric}' has no figure in this audit. Its notes: {notes}")
    return figure


def _show(figure: Figure) -> str:
    return f"{figure.value:.4g}, interval {figure.low:.4g} to {figure.high:.4g}"
