"""The report of a comparison as one HTML file that needs nothing else: no script, no request, all text escaped."""

from __future__ import annotations

import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined

from trialign_ray.errors import require
from trialign_ray.evaluation.comparison.model import Comparison
from trialign_ray.evaluation.comparison.written import contrast_table, tables

_ENVIRONMENT = Environment(
    loader=PackageLoader("trialign_ray.evaluation.report"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def to_html(found: Comparison) -> str:
    """The text of `comparison.html`; raises MissingExtraError without matplotlib."""
    require("report", "matplotlib")
    from trialign_ray.evaluation.report.pareto import pareto

    return _ENVIRONMENT.get_template("comparison.html.j2").render(
        found=found,
        contrasts=contrast_table(found),
        regimes=[
            (regime, pareto(f"pareto-{number}", regime.rows), list(tables(regime)))
            for number, regime in enumerate(found.regimes)
        ],
        specification=yaml.safe_dump(found.run["specification"], sort_keys=False, width=100),
        facts={name: value for name, value in found.run.items() if name != "specification"},
    )
