"""The report's tables as text, which Markdown and page share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from trialign_ray.config.compare import FIGURES
from trialign_ray.evaluation.comparison.model import ArmRow, ByFigure, Comparison, ContrastRow, RegimeRows
from trialign_ray.evaluation.figures import Figure, MaybeFigure

ABSENT = "–"
_READINGS = {
    "closed": "Closed set: the likeliest option",
    "calibrated": "Closed set, the options' prior taken out",
    "free": "Free answers",
}


@dataclass(frozen=True, slots=True)
class Table:
    """One table: its first column is the row's name."""

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def tables(regime: RegimeRows) -> Iterator[Table]:
    """Each reading, groups and topics that training left out, and what each arm costs."""
    for reading, title in _READINGS.items():
        yield from _figures(title, reading, [(row, row.figures) for row in regime.rows])
    for reading, title in _READINGS.items():
        rows = [(row, row.unseen) for row in regime.rows if row.unseen]
        yield from _figures(f"{title}, groups and topics that training left out", reading, rows)
    yield from _by_seed(regime.rows)
    yield from _by_topic(regime.rows)
    yield _costs(regime.rows)


def contrast_table(found: Comparison) -> Table:
    """Every contrast that was named before the run."""
    head = ("contrast", "regime", "figure", "difference", "95 %", "p", "p, Holm", "seeds")
    return Table("Contrasts named before the run", head, tuple(_contrast(row) for row in found.contrasts))


def differences_table(found: Sequence[ContrastRow]) -> Table:
    """Differences that were asked when the results were known."""
    head = ("difference", "regime", "figure", "difference", "95 %", "p, uncorrected", "seeds")
    return Table("Differences that were not named before the run", head, tuple(map(_afterwards, found)))


def seeds(row: ArmRow) -> str:
    """'3 seeds', '2 of 3 seeds', or nothing of an arm without training."""
    if not row.trained:
        return ""
    whole = len(row.seeds) + row.missing
    return f"{len(row.seeds)} of {whole} seeds" if row.missing else f"{whole} seed{'s' * (whole > 1)}"


def _figures(title: str, reading: str, rows: Sequence[tuple[ArmRow, ByFigure]]) -> Iterator[Table]:
    """Columns that some arm has a figure in; no table without one."""
    names = [name for name in FIGURES if name.startswith(f"{reading}.") and any(found.get(name) for _, found in rows)]
    if names:
        head = ("arm", *(FIGURES[name] for name in names))
        yield Table(title, head, tuple((row.arm, *(_figure(found.get(name)) for name in names)) for row, found in rows))


def _by_seed(rows: Sequence[ArmRow]) -> Iterator[Table]:
    several = [row for row in rows if row.by_seed]
    names = [name for name in FIGURES if any(name in row.by_seed for row in several)]
    if names:
        head = ("arm", *(name.replace(".", ": ").replace("_", " ") for name in names))
        told = ((row.arm, *(_values(row.by_seed.get(name, {})) for name in names)) for row in several)
        yield Table("Seed by seed", head, tuple(told))


def _by_topic(rows: Sequence[ArmRow]) -> Iterator[Table]:
    topics = sorted({topic for row in rows for topic in row.by_topic})
    if len(topics) > 1:
        told = ((row.arm, *(_value(row.by_topic.get(topic)) for topic in topics)) for row in rows)
        yield Table("Closed set: right for everyone, topic by topic", ("arm", *topics), tuple(told))


def _values(by_seed: Mapping[int, float]) -> str:
    return ", ".join(f"{by_seed[seed]:.3f}" for seed in sorted(by_seed)) or ABSENT


def _value(value: float | None) -> str:
    return ABSENT if value is None else f"{value:.3f}"


def _figure(figure: MaybeFigure) -> str:
    if figure is None:
        return ABSENT
    interval = f" ({figure.low:.3f} to {figure.high:.3f})" if figure.low < figure.high else ""
    return f"{figure.value:.3f}{interval}"


def _costs(rows: Sequence[ArmRow]) -> Table:
    head = ("arm", "seeds", "calls an answer", "tokens an answer", "learning rate", "steps", "training tokens",
            "scored tokens", "training seconds", "perplexity")  # fmt: skip
    return Table("What each costs", head, tuple(_cost(row) for row in rows))


def _cost(row: ArmRow) -> tuple[str, ...]:
    spent: tuple[str, ...] = (ABSENT,) * 5
    if row.learning_rate is not None:
        counts = (row.steps, row.training_tokens, row.scored_tokens, row.training_seconds)
        spent = f"{row.learning_rate:g}", *(ABSENT if n is None else f"{n:.0f}" for n in counts)
    perplexity = ABSENT if row.perplexity is None else f"{row.perplexity:.3f}"
    return row.arm, seeds(row) or ABSENT, f"{row.calls:.2f}", f"{row.tokens:.1f}", *spent, perplexity


def _contrast(row: ContrastRow) -> tuple[str, ...]:
    told = row.contrast
    where = f"{told.regime}, left out" if told.unseen else told.regime
    name = f"{told.name}: {told.of} less {told.against}"
    if row.difference is None or row.p is None or row.p_holm is None:
        return name, where, told.figure, *(ABSENT,) * 4, str(row.seeds)
    return name, where, told.figure, *_difference(row.difference), _p(row.p), _p(row.p_holm), str(row.seeds)


def _afterwards(row: ContrastRow) -> tuple[str, ...]:
    told = row.contrast
    asked = f"{told.of} less {told.against}", told.regime, told.figure
    if row.difference is None or row.p is None:
        return *asked, *(ABSENT,) * 3, str(row.seeds)
    return *asked, *_difference(row.difference), _p(row.p), str(row.seeds)


def _p(value: float) -> str:
    return f"{value:.3f}" if value >= 0.0005 else "< 0.001"


def _difference(figure: Figure) -> tuple[str, str]:
    return f"{figure.value:+.3f}", f"{figure.low:+.3f} to {figure.high:+.3f}"
