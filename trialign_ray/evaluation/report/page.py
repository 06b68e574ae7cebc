"""The report as one HTML file that needs nothing else: no script, no request, all text escaped."""

from __future__ import annotations

from jinja2 import Environment, PackageLoader, StrictUndefined

from trialign_ray.errors import require
from trialign_ray.evaluation.report.catalogue import group_columns, write_answering
from trialign_ray.evaluation.report.report import Report
from trialign_ray.evaluation.report.served import ABSENT, sentences, served
from trialign_ray.evaluation.report.sides import compared, sides

MOST_QUESTIONS = 200
"""Questions shown on the page; `report.json` has all."""
_MOST_UNFOLDED = 12
"""Rows up to which the table of contradictions is open."""
_MOST_IN_SIGHT = 6
"""Columns by group that a wide screen shows at once."""

# Responses are untrusted text: autoescape covers every template, and StrictUndefined every misspelt name.
_ENVIRONMENT = Environment(
    loader=PackageLoader("trialign_ray.evaluation.report"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def to_html(report: Report) -> str:
    """The text of `report.html`; raises MissingExtraError without matplotlib."""
    require("report", "matplotlib")
    from trialign_ray.evaluation.report import view

    shown, found = sides(report), compared(report)
    last = list(shown.values())[-1]
    columns = group_columns(last)
    rows = view.rows(shown, None if found is None else found.difference)
    return _ENVIRONMENT.get_template("report.html.j2").render(
        title=str(report.run.get("name", "Truth report")),
        sides=shown,
        compared=found,
        last=last,
        rows=rows,
        headlines=view.headlines(rows),
        served=served(report),
        absent=ABSENT,
        sentences=sentences(report),
        charts=view.charts(shown),
        heats=view.heats(shown),
        answering=write_answering(last),
        by_mean=view.by_mean_logprob(last),
        group_columns=[heading.capitalize() for heading in columns.values()],
        group_rows={side: view.group_rows(audit, columns) for side, audit in shown.items()},
        cue_columns=[heading.capitalize() for heading in view.columns_by_cue(report).values()],
        cue_rows=view.cue_rows(report),
        questions=[(view.status(question), question) for question in report.split_questions[:MOST_QUESTIONS]],
        questions_in_all=len(report.split_questions),
        contradictions=report.contradictions[:MOST_QUESTIONS],
        most_unfolded=_MOST_UNFOLDED,
        most_in_sight=_MOST_IN_SIGHT,
        contradictions_in_all=len(report.contradictions),
        apart=report.read_apart[:MOST_QUESTIONS],
        apart_in_all=len(report.read_apart),
        facts=view.facts(report.run),
    )
