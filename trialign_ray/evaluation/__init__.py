"""Measure which groups get true answers: metrics, the report as data, table and page, and gates for CI."""

from trialign_ray.evaluation.answers import Answers, read_answers
from trialign_ray.evaluation.figures import Audit, Figure, Figures
from trialign_ray.evaluation.gates import Gate, check_gates, known_metrics, parse_gates
from trialign_ray.evaluation.report.page import to_html
from trialign_ray.evaluation.report.publish import publish
from trialign_ray.evaluation.report.report import (
    AuditReport,
    Report,
    TrainingReport,
    audit_report,
    from_json,
    to_json,
    training_report,
)
from trialign_ray.evaluation.report.table import report_table
from trialign_ray.evaluation.stats.hypervolume import hypervolume
from trialign_ray.evaluation.stats.intervals import Bootstrap

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
