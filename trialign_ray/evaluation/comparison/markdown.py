"""The report of a comparison as Markdown."""

from __future__ import annotations

from collections.abc import Iterator

from trialign_ray.evaluation.comparison.model import Comparison
from trialign_ray.evaluation.comparison.written import Table, contrast_table, tables
from trialign_ray.evaluation.report.markdown import cell, table


def to_markdown(found: Comparison) -> str:
    """Contrasts first, then every regime's tables."""
    return "\n".join(_parts(found))


def _parts(found: Comparison) -> Iterator[str]:
    about = {reading: f" about {count} subjects" for reading, count in found.subjects.items()}
    asked = ", ".join(f"{count} questions {name}{about.get(name, '')}" for name, count in found.questions.items())
    yield f"## Comparison: {cell(found.name)}\n\n{asked}, {found.groups} groups. Means over seeds, 95 % intervals.\n"
    if found.contrasts:
        yield titled(contrast_table(found))
    for regime in found.regimes:
        yield f"## {cell(regime.regime)}\n\nPredicted: {cell(regime.predicted)}\n"
        yield from (titled(each) for each in tables(regime))
    if found.failed:
        yield "### Failed\n"
        yield "".join(f"- {cell(label)}: {cell(reason)}\n" for label, reason in found.failed.items())


def titled(found: Table) -> str:
    """A table under its heading."""
    return f"### {found.title}\n\n{table(found.head, found.rows)}"
