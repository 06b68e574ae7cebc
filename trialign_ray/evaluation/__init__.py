"""Measure who is told the truth: metrics, the report as data, table and page, and gates for CI."""

from trialign_ray.evaluation.answers import Answers, read_answers
from trialign_ray.evaluation.figures import Audit, Figure, Figures
from trialign_ray.evaluation.gates import Gate, check_gates, known_metrics, parse_gates
from trialign_ray.evaluation.hypervolume import hypervolume
from trialign_ray.evaluation.intervals import Bootstrap
from trialign_ray.evaluation.page import to_html
from trialign_ray.evaluation.publish import publish
from trialign_ray.evaluation.report import (
    AuditReport,
    Report,
    TrainingReport,
    audit_report,
    from_json,
    to_json,
    training_report,
)
from trialign_ray.evaluation.table import report_table

__all__ = [
    "Answers",
    "Audit",
    "AuditReport",
    "Bootstrap",
    "Figure",
    "Figures",
    "Gate",
    "Report",
    "TrainingReport",
    "audit_report",
    "check_gates",
    "from_json",
    "hypervolume",
    "known_metrics",
    "parse_gates",
    "publish",
    "read_answers",
    "report_table",
    "to_html",
    "to_json",
    "training_report",
]
