"""The report of a comparison as data: `comparison.json` holds all that the page and the tables show."""

from __future__ import annotations

from typing import Literal

from pydantic import FiniteFloat, JsonValue

from trialign_ray.config.base import Strict
from trialign_ray.config.compare import Contrast
from trialign_ray.evaluation.figures import MaybeFigure

ByFigure = dict[str, MaybeFigure]
"""'closed.everyone' and others -> its mean over seeds with its interval; None where an arm has none."""


class ArmRow(Strict):
    """One arm in one regime."""

    arm: str
    trained: bool
    """False of a reference arm."""
    seeds: tuple[int, ...]
    """Those that are finished."""
    missing: int
    """How many are not."""
    learning_rate: float | None
    figures: ByFigure
    unseen: ByFigure
    """Over the groups and topics alone that the regime leaves out of training; empty where it leaves out none."""
    by_seed: dict[str, dict[int, FiniteFloat]] = {}
    """'closed.everyone' and others -> seed -> value: what a mean over few seeds hides. Of an arm with several seeds."""
    by_topic: dict[str, FiniteFloat] = {}
    """Topic -> right for everyone in the closed set: what a mean over topics hides."""
    calls: FiniteFloat
    """Calls of the model for each answer that is served; means over the seeds, as all that follows."""
    tokens: FiniteFloat
    """Tokens that are written for each answer that is served."""
    steps: FiniteFloat
    training_tokens: FiniteFloat
    """Of the responses, each in full."""
    scored_tokens: FiniteFloat | None
    """Tokens that passed the model in training: prompts, responses and answers, those of a shared prefix once. None
    of an arm without training."""
    training_seconds: FiniteFloat
    perplexity: FiniteFloat | None
    """Of the untouched text; None where none was given."""


class RegimeRows(Strict):
    """One regime."""

    regime: str
    predicted: str
    """Which term should win here and why, as it was written before the run."""
    rows: tuple[ArmRow, ...]
    """References first, in the order of the specification."""


class ContrastRow(Strict):
    """One difference that was named before the run."""

    contrast: Contrast
    seeds: int
    """Seeds of which both arms are finished; 1 of two arms without training."""
    difference: MaybeFigure
    """Mean of `of` less `against`; None where cells are missing or an arm has no such figure."""
    p: FiniteFloat | None
    """Two-sided."""
    p_holm: FiniteFloat | None
    """Corrected for all contrasts that were named, those without a value among them."""


class Comparison(Strict):
    """The report of a comparison."""

    schema_version: Literal[1] = 1
    name: str
    questions: dict[str, int]
    """Reading -> questions that every arm was asked."""
    subjects: dict[str, int] = {}
    """Reading -> what those questions are about, where subjects are drawn and not questions."""
    groups: int
    regimes: tuple[RegimeRows, ...]
    contrasts: tuple[ContrastRow, ...]
    learning_rates: dict[str, float]
    """Family -> the one that was chosen."""
    failed: dict[str, str]
    """Cells that failed in the last invocation -> why."""
    run: dict[str, JsonValue]
    """Versions, times, devices and the specification."""
