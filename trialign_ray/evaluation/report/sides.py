"""The sides of a report and what they are called: one that was measured, or two that are held against each other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from trialign_ray.evaluation.figures import Audit, Difference
from trialign_ray.evaluation.report.report import AuditReport, Report

Sides = Mapping[str, Audit]
"""Name of each side -> its figures, the later one last."""


@dataclass(frozen=True, slots=True)
class Compared:
    """What two sides are called, and how they differ."""

    difference: Difference
    """After less before."""
    before: str
    after: str
    scope: str
    """What the report is about."""
    earlier: str
    """Where the earlier figures come from."""
    changer: str
    """What reaches a share of the vote's gain."""


def compared(report: Report) -> Compared | None:
    """The two sides of a training run, or of an audit that is held against another; None of an audit alone."""
    if not isinstance(report, AuditReport):
        return Compared(
            report.difference, "base", "trained", "before and after training", "before training", "training"
        )
    if report.baseline is None:
        return None
    return Compared(
        report.baseline.difference,
        "baseline",
        "audit",
        "held against an earlier audit, the baseline",
        "in the baseline",
        "the audit",
    )


def sides(report: Report) -> Sides:
    """The sides that `compared` names, or the audit alone."""
    if not isinstance(report, AuditReport):
        return {"base": report.base, "trained": report.trained}
    if report.baseline is None:
        return {"measured": report.audit}
    return {"baseline": report.baseline.audit, "audit": report.audit}
