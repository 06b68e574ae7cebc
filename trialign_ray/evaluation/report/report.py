"""The report as data: `report.json` holds all that the page and the table show.

Top level of an audit: `audit`, `split_questions`, `contradictions`, `read_apart`, `run`, and `baseline` where it is
held against an earlier one. Of a training run: `base`, `trained`, `difference`, and the others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import pyarrow as pa
from pydantic import JsonValue, TypeAdapter, ValidationError

from trialign_ray.config.base import Strict, explain
from trialign_ray.errors import DataError
from trialign_ray.evaluation.answers import Answers, read_answers
from trialign_ray.evaluation.by_cue import CueRow, by_cue
from trialign_ray.evaluation.closed_set import ScoredOptions, closed_set
from trialign_ray.evaluation.compare import difference
from trialign_ray.evaluation.figures import Audit, ClosedSet, Difference
from trialign_ray.evaluation.metrics import audit
from trialign_ray.evaluation.read_apart import ReadApart, read_apart
from trialign_ray.evaluation.report.frame import to_frame
from trialign_ray.evaluation.split_questions import Contradiction, SplitQuestion, contradictions, split_questions
from trialign_ray.evaluation.stats.intervals import Bootstrap
from trialign_ray.rewards.verifiers import USUAL, Reasoning

if TYPE_CHECKING:
    import pandas as pd

Run = dict[str, JsonValue]
"""What the caller knows of the run: seed, versions, model_hash, wall_seconds and the like."""


class Baseline(Strict):
    """An earlier audit of the same questions and groups."""

    audit: Audit
    difference: Difference
    """The audit of the report less this one."""
    run: Run
    """What the earlier report says of its run."""


@dataclass(frozen=True, slots=True)
class EarlierAnswers:
    """The answers of an earlier audit, to hold another against."""

    table: pa.Table
    closed_set: ClosedSet | None
    run: Run
    reasoning: Reasoning = USUAL


class AuditReport(Strict):
    """The truth report of one model, or of answers already collected."""

    schema_version: Literal[1] = 1
    audit: Audit
    baseline: Baseline | None = None
    """What the audit is held against, where it is."""
    split_questions: tuple[SplitQuestion, ...]
    contradictions: tuple[Contradiction, ...] = ()
    """Questions to which groups name different answers; the most contradicting first."""
    read_apart: tuple[ReadApart, ...] = ()
    """Responses that hold the same answer and were read apart."""
    by_cue: dict[str, tuple[CueRow, ...]] = {}
    """Under 'audit', and 'baseline', the figures of each kind of cue, where the groups have several."""
    run: Run

    def to_frame(self) -> pd.DataFrame:
        """All figures as a pandas table; see `evaluation.report.frame`."""
        beside = self.baseline
        return to_frame(
            {"audit": self.audit} | ({"baseline": beside.audit, "difference": beside.difference} if beside else {})
        )


class TrainingReport(Strict):
    """The truth reports of a model before and after training, on the same questions."""

    schema_version: Literal[1] = 1
    base: Audit
    trained: Audit
    difference: Difference
    split_questions: tuple[SplitQuestion, ...]
    contradictions: tuple[Contradiction, ...] = ()
    """Questions to which groups name different answers, after training; the most contradicting first."""
    read_apart: tuple[ReadApart, ...] = ()
    """Responses of the trained model that hold the same answer and were read apart."""
    by_cue: dict[str, tuple[CueRow, ...]] = {}
    """Under 'base' and 'trained' the figures of each kind of cue, where the groups have several."""
    run: Run

    def to_frame(self) -> pd.DataFrame:
        """All figures of base, trained and their difference as a pandas table; see `evaluation.report.frame`."""
        return to_frame({"base": self.base, "trained": self.trained, "difference": self.difference})


Report = AuditReport | TrainingReport
_REPORT: TypeAdapter[Report] = TypeAdapter(Report)


def audit_report(
    answers: pa.Table,
    groups: Sequence[str],
    run: Mapping[str, JsonValue],
    bootstrap: Bootstrap | None = None,
    options: ScoredOptions | None = None,
    cues: Mapping[str, str] | None = None,
    earlier: EarlierAnswers | None = None,
    reasoning: Reasoning = USUAL,
) -> AuditReport:
    """Measure one table of answers (log schema); `options` says that they are options that were scored.

    cues: group -> kind of its cue (`GroupSet.cues`), to report by. earlier: answers to the same questions, read in the
    same way, to hold these against. reasoning: finds what is shown of a response.

    Raises DataError where it cannot be audited.
    """
    bootstrap = bootstrap or Bootstrap()
    read = {}
    if earlier is not None:
        read["baseline"] = read_answers(earlier.table, groups, "baseline", earlier.reasoning)
    read["audit"] = read_answers(answers, groups, reasoning=reasoning)
    cue_rows = {side: by_cue(each, cues or {}, bootstrap) for side, each in read.items()}
    if options is not None:
        cue_rows = {side: tuple(row.of_facts() for row in rows) for side, rows in cue_rows.items()}
    return AuditReport(
        audit=audit(read["audit"], bootstrap, None if options is None else closed_set(options, groups, bootstrap)),
        baseline=None if earlier is None else _baseline(earlier, read["baseline"], read["audit"], bootstrap),
        split_questions=split_questions(read),
        contradictions=contradictions(read["audit"]),
        read_apart=() if options is not None else read_apart(read["audit"]),
        by_cue=cue_rows,
        run=dict(run),
    )


def _baseline(earlier: EarlierAnswers, before: Answers, after: Answers, bootstrap: Bootstrap) -> Baseline:
    scored, names = earlier.closed_set is not None, ("the baseline", "the audit")
    return Baseline(
        difference=difference(before, after, bootstrap, scored=scored, names=names),
        audit=audit(before, bootstrap, earlier.closed_set),
        run=earlier.run,
    )


def training_report(
    base: pa.Table,
    trained: pa.Table,
    groups: Sequence[str],
    run: Mapping[str, JsonValue],
    bootstrap: Bootstrap | None = None,
    cues: Mapping[str, str] | None = None,
    reasoning: Reasoning = USUAL,
) -> TrainingReport:
    """Measure both tables of answers and their paired difference. Raises DataError where they do not match."""
    before = read_answers(base, groups, "base answers", reasoning)
    after = read_answers(trained, groups, "trained answers", reasoning)
    bootstrap = bootstrap or Bootstrap()
    return TrainingReport(
        difference=difference(before, after, bootstrap),
        base=audit(before, bootstrap),
        trained=audit(after, bootstrap),
        split_questions=split_questions({"base": before, "trained": after}),
        contradictions=contradictions(after),
        read_apart=read_apart(after),
        by_cue={side: by_cue(read, cues or {}, bootstrap) for side, read in (("base", before), ("trained", after))},
        run=dict(run),
    )


def to_json(report: Report) -> str:
    """The text of `report.json`."""
    return report.model_dump_json(indent=2) + "\n"


def from_json(text: str, where: str = "report.json") -> Report:
    """The report that `to_json` wrote; raises DataError."""
    try:
        return _REPORT.validate_json(text)
    except ValidationError as error:
        raise DataError(explain(error, where)) from None
