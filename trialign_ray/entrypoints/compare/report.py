"""From finished cells to the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import JsonValue

from trialign_ray.config.compare import (
    BASE,
    FIGURES,
    NEUTRAL_TO_ALL,
    NO_INTERVAL,
    TESTED,
    VOTE,
    CompareSpec,
    Contrast,
    contrast_faults,
)
from trialign_ray.entrypoints.compare.cells import reference_cell, trained_cell
from trialign_ray.entrypoints.compare.folder import CellResult, CompareFolder
from trialign_ray.entrypoints.compare.rates import chosen_rates
from trialign_ray.entrypoints.compare.registered import registered_seeds
from trialign_ray.errors import DataError, SpecError
from trialign_ray.evaluation.comparison.measured import MeasuredArm, by_subject, by_topic, measured, unseen, vote_gain
from trialign_ray.evaluation.comparison.model import ArmRow, ByFigure, Comparison, ContrastRow, RegimeRows
from trialign_ray.evaluation.comparison.served_to_all import neutral_to_all, vote
from trialign_ray.evaluation.figures import Figure, MaybeFigure
from trialign_ray.evaluation.references import vote_gains
from trialign_ray.evaluation.stats.holm import holm
from trialign_ray.evaluation.stats.intervals import Bootstrap, Statistic
from trialign_ray.evaluation.stats.paired import difference_over_seeds, mean_over_seeds


@dataclass(frozen=True)
class Finished:
    """One finished cell, or what is served of one."""

    result: CellResult
    table: pa.Table

    @cached_property
    def measured(self) -> MeasuredArm:
        """All questions and groups."""
        return measured(self.table)


def comparison(spec: CompareSpec, folder: CompareFolder, failed: Mapping[str, str]) -> Comparison:
    """The report of all finished cells. Raises DataError where the base has not been asked yet."""
    book = _Book(spec, folder, chosen_rates(spec, folder))
    first = book.reference(BASE, next(iter(spec.regimes)))
    if first is None:
        raise DataError(f"{folder.root.uri}: the base has not been asked yet, so there is nothing to compare with.")
    regimes = tuple(
        RegimeRows(regime=label, predicted=regime.predicted, rows=tuple(_rows(book, label)))
        for label, regime in spec.regimes.items()
    )
    return Comparison(
        name=spec.name,
        questions=first.measured.questions,
        subjects=_subjects(book, first.measured),
        groups=len(next(iter(first.measured.answers.values())).groups),
        regimes=regimes,
        contrasts=_contrasts(book),
        learning_rates=book.rates,
        failed=dict(failed),
        run=_run(book),
    )


def differences(spec: CompareSpec, asked: Sequence[Contrast]) -> tuple[ContrastRow, ...]:
    """Contrasts that were not named before the run, without a correction: for the eye, and in no report.

    Raises SpecError for one of arms, a figure or a regime that `spec` has not.
    """
    if faults := [*contrast_faults(spec, asked)]:
        raise SpecError("; ".join(faults))
    folder = CompareFolder.of(spec)
    book = _Book(spec, folder, chosen_rates(spec, folder))
    return tuple(_contrast(book, contrast) for contrast in asked)


def _subjects(book: _Book, arm: MeasuredArm) -> dict[str, int]:
    """Reading -> number of subjects, where those are what is drawn."""
    drawn = {reading: book.draws(arm, reading).cluster_q for reading in arm.answers}
    return {reading: 1 + max(cluster_q) for reading, cluster_q in drawn.items() if cluster_q is not None}


class _Book:
    """Looks finished cells up, and reads each once."""

    def __init__(self, spec: CompareSpec, folder: CompareFolder, rates: dict[str, float]) -> None:
        self.spec, self.rates, self._folder = spec, rates, folder
        self._registered = registered_seeds(folder)
        self.bootstrap = Bootstrap(spec.evaluation.bootstrap, spec.evaluation.seed)
        self.read: dict[str, Finished] = {}

    def draws(self, arm: MeasuredArm, figure: str) -> Bootstrap:
        """The bootstrap behind a figure: of the questions of its reading, or of their subjects."""
        if self.spec.evaluation.cluster == "question":
            return self.bootstrap
        return replace(self.bootstrap, cluster_q=by_subject(arm.asked(figure)))

    def reference(self, arm: str, regime: str) -> Finished | None:
        """What a reference arm came to; None where it has not been asked."""
        if arm not in (NEUTRAL_TO_ALL, VOTE):
            return self._cell(reference_cell(self.spec, arm, regime).key)
        base = self.reference(BASE, regime)
        if base is None:
            return None
        key = f"{base.result.key}-{arm}"
        if key not in self.read:
            self.read[key] = _served(base, arm)
        return self.read[key]

    def by_seed(self, arm: str, regime: str) -> dict[int, Finished]:
        """Seed -> what an arm came to; a reference has seed 0 alone."""
        if arm not in self.spec.algorithms:
            found = self.reference(arm, regime)
            return {} if found is None else {0: found}
        family = self.spec.algorithms[arm].family
        if family is not None and family not in self.rates:
            return {}
        cells = {seed: trained_cell(self.spec, arm, regime, seed, self.rates) for seed in self.seeds(arm, regime)}
        found_by_seed = {seed: self._cell(cell.key) for seed, cell in cells.items()}
        return {seed: each for seed, each in found_by_seed.items() if each is not None}

    def seeds(self, arm: str, regime: str) -> tuple[int, ...]:
        """Those that the specification wants, or wanted: none can be dropped by its result."""
        trained = self.spec.trained_in(regime)
        if arm not in trained:
            return ()
        wanted = self.spec.seeds_of(trained[arm], self.spec.regimes[regime])
        return tuple(sorted({*wanted, *self._registered.get(f"{regime}/{arm}", ())}))

    def _cell(self, key: str) -> Finished | None:
        if key not in self.read:
            result = self._folder.result(key)
            if result is None:
                return None
            self.read[key] = Finished(result, self._folder.answers(key))
        return self.read[key]


def _served(base: Finished, arm: str) -> Finished:
    """The base's answers as everybody gets them, reading by reading; calls and tokens are those of free answers."""
    serve = vote if arm == VOTE else neutral_to_all
    readings = [base.table.filter(pc.equal(base.table["reading"], name)) for name in base.measured.answers]
    table = pa.concat_tables([serve(each) for each in readings])
    groups = len(next(iter(base.measured.answers.values())).groups)
    tokens = pc.mean(table.filter(pc.equal(table["reading"], "free"))["tokens"]).as_py()
    changes = {"arm": arm, "calls": float(groups if arm == VOTE else 1), "tokens": float(tokens or 0.0)}
    return Finished(base.result.model_copy(update=changes), table)


def _rows(book: _Book, regime: str) -> list[ArmRow]:
    names = [*dict.fromkeys((BASE, *book.spec.references)), *book.spec.algorithms]
    return [row for name in names if (row := _row(book, name, regime)) is not None]


def _row(book: _Book, arm: str, regime: str) -> ArmRow | None:
    """None of an arm that the regime does not have, or has finished no cell of."""
    found, trained = book.by_seed(arm, regime), arm in book.spec.algorithms
    if not found:
        return None
    changes = book.spec.regimes[regime].logs
    left_out = changes.without_groups or changes.without_topics
    cells = list(found.values())
    logprobs = [cell.result.text_logprob for cell in cells if cell.result.text_logprob is not None]
    scored = [cell.result.scored_tokens for cell in cells if cell.result.scored_tokens is not None]
    figures = _figures(book, [cell.measured for cell in cells])
    return ArmRow(
        arm=arm,
        trained=trained,
        seeds=tuple(found) if trained else (),
        missing=len(book.seeds(arm, regime)) - len(found) if trained else 0,
        learning_rate=cells[0].result.learning_rate,
        figures=figures | {"free.vote_gain": _vote_gain(book, regime, cells)},
        unseen=_figures(book, [measured(unseen(cell.table, changes)) for cell in cells]) if left_out else {},
        by_seed=_by_seed(found) if len(found) > 1 else {},
        by_topic=by_topic([cell.measured for cell in cells]),
        scored_tokens=float(np.mean(scored)) if scored else None,
        perplexity=float(np.exp(-np.mean(logprobs))) if logprobs else None,
        **{
            name: float(np.mean([getattr(cell.result, name) for cell in cells]))
            for name in ("calls", "tokens", "steps", "training_tokens", "training_seconds")
        },
    )


def _figures(book: _Book, cells: Sequence[MeasuredArm]) -> ByFigure:
    """Every figure's mean over the seeds; a minimum over groups is a value without an interval."""
    found: ByFigure = {}
    for name in FIGURES:
        by_seed = [cell.statistics[name] for cell in cells if name in cell.statistics]
        if len(by_seed) == len(cells):
            questions = cells[0].questions[name.partition(".")[0]]
            figure = mean_over_seeds(by_seed, book.draws(cells[0], name), questions)
            found[name] = _alone(figure) if name in NO_INTERVAL else figure
    return found


def _by_seed(cells: Mapping[int, Finished]) -> dict[str, dict[int, float]]:
    """Figure -> seed -> value; figures that an arm has not are left out."""
    found: dict[str, dict[int, float]] = {}
    for seed, cell in cells.items():
        for name in sorted(cell.measured.statistics.keys() & set(TESTED)):
            questions = cell.measured.questions[name.partition(".")[0]]
            (value,) = cell.measured.statistics[name](np.ones((1, questions)))
            found.setdefault(name, {})[seed] = float(value)
    return found


def _alone(figure: MaybeFigure) -> MaybeFigure:
    return None if figure is None else Figure.around(figure.value, figure.value, figure.value)


def _vote_gain(book: _Book, regime: str, cells: Sequence[Finished]) -> MaybeFigure:
    """None where nothing is answered freely, or the interval of the vote's gain holds 0."""
    base, best = book.reference(BASE, regime), book.reference(VOTE, regime)
    if base is None or best is None or any("free" not in cell.measured.answers for cell in (base, *cells)):
        return None
    draws = book.draws(base.measured, "free.vote_gain")
    if not vote_gains(base.measured.answers["free"], draws):
        return None
    gains: list[Statistic] = [vote_gain(cell.measured, base.measured, best.measured) for cell in cells]
    return mean_over_seeds(gains, draws, base.measured.questions["free"])


def _contrasts(book: _Book) -> tuple[ContrastRow, ...]:
    tested = [_contrast(book, contrast) for contrast in book.spec.contrasts]
    adjusted = holm([1.0 if row.p is None else row.p for row in tested])
    return tuple(
        row if row.p is None else row.model_copy(update={"p_holm": p}) for row, p in zip(tested, adjusted, strict=True)
    )


def _contrast(book: _Book, contrast: Contrast) -> ContrastRow:
    of, against = (book.by_seed(arm, contrast.regime) for arm in (contrast.of, contrast.against))
    if all(arm in book.spec.algorithms for arm in (contrast.of, contrast.against)):
        # Seeds are pairs: one that a side has not finished counts for neither.
        of, against = ({seed: side[seed] for seed in sorted(of.keys() & against.keys())} for side in (of, against))
    row = ContrastRow(contrast=contrast, seeds=0, difference=None, p=None, p_holm=None)
    if not of or not against:
        return row
    tested = _difference(book, contrast, list(of.values()), list(against.values()))
    row = row.model_copy(update={"seeds": max(len(of), len(against))})
    return row if tested is None else row.model_copy(update={"difference": tested[0], "p": tested[1]})


def _difference(
    book: _Book, contrast: Contrast, of: Sequence[Finished], against: Sequence[Finished]
) -> tuple[Figure, float] | None:
    changes = book.spec.regimes[contrast.regime].logs

    def read(cells: Sequence[Finished]) -> list[MeasuredArm]:
        return [measured(unseen(cell.table, changes)) if contrast.unseen else cell.measured for cell in cells]

    plus, minus = read(of), read(against)
    if any(contrast.figure not in cell.statistics for cell in (*plus, *minus)):
        return None
    questions = plus[0].questions[contrast.figure.partition(".")[0]]
    plus_of, minus_of = ([cell.statistics[contrast.figure] for cell in side] for side in (plus, minus))
    return difference_over_seeds(plus_of, minus_of, book.draws(plus[0], contrast.figure), questions)


def _run(book: _Book) -> dict[str, JsonValue]:
    results = [cell.result for cell in book.read.values()]
    last = max(results, key=lambda result: result.finished_at)
    return {
        "cells": len({result.key for result in results}),
        "first_finished": min(result.finished_at for result in results),
        "last_finished": last.finished_at,
        "devices": ", ".join(sorted({result.device for result in results})),
        "versions": last.versions,
        "versions_differ": any(result.versions != last.versions for result in results),
        "specification": book.spec.model_dump(mode="json"),
    }
