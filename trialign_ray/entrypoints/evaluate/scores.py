"""Log-probs of logged responses under the policy that is evaluated, and the check that logs were sampled as said."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from trialign_ray.config.evaluate import EvaluateSpec
from trialign_ray.entrypoints.audit.model_folder import ModelFolder
from trialign_ray.entrypoints.evaluate.logged_rows import LoggedPrompt
from trialign_ray.errors import DataError, naming
from trialign_ray.evaluation.offline.logged import Logged
from trialign_ray.progress import Progress
from trialign_ray.trainer.option_scores import load_scorer

Scores = list[dict[tuple[int, ...], float]]
"""For each cell: response -> its log-prob, sampled as logged."""
_CHECKED = 16
"""Cells behind the check of the temperature."""
_NATS = 0.05
"""How far a response's log-prob may be off, a token: what rounding to bfloat16 changes cancels over a response, what
another temperature changes does not."""


def scores_of(cells: Sequence[LoggedPrompt], spec: EvaluateSpec, place: ModelFolder, progress: Progress) -> Scores:
    """The log-prob of every distinct response under the model with its adapter. Raises ModelError."""
    with naming(place.field):
        scorer = load_scorer(place.model, place.adapter, place.dtype, place.device, spec.temperature)
    progress.begin("scoring logged responses", len(cells))
    logp = scorer.logprobs([cell.tree() for cell in cells], progress.advance)
    progress.end()
    return [dict(zip(cell.responses(), logp_s, strict=True)) for cell, logp_s in zip(cells, logp, strict=True)]


def refuse_other_sampling(cells: Sequence[LoggedPrompt], spec: EvaluateSpec, place: ModelFolder) -> None:
    """Raise DataError where the model that was logged does not give the logged log-probs at the temperature.

    place: that model, without an adapter.
    """
    some = cells[:: max(1, len(cells) // _CHECKED)]
    with naming("model"):
        scorer = load_scorer(place.model, None, place.dtype, place.device, spec.temperature)
    scores = scorer.logprobs([cell.tree() for cell in some])
    off, tokens = 0.0, 0
    for cell, logp_s in zip(some, scores, strict=True):
        logp = dict(zip(cell.responses(), logp_s, strict=True))
        for row in cell.rows:
            off += abs(sum(row["behaviour_logprobs"]) - logp[tuple(row["response_ids"])])
            tokens += len(row["response_ids"])
    if off > _NATS * tokens:
        raise DataError(
            f"{spec.logs}: field 'behaviour_logprobs' is {off / tokens:.2f} nats a token away from what the logged "
            f"model gives at temperature {spec.temperature:g}. Give the temperature of the logs (--temperature), or "
            "collect anew with the log-probs of what was sampled."
        )


def logged_of(cells: Sequence[LoggedPrompt], scores: Scores, reward: Literal["truth", "preference"]) -> Logged | None:
    """The rows of one group's cells that have the reward; None where none has."""
    columns: list[tuple[float, ...]] = []
    questions = 0
    for cell, logp in zip(cells, scores, strict=True):
        number = {response: index for index, response in enumerate(logp)}
        rows = [row for row in cell.rows if row[f"reward_{reward}"] is not None]
        for row in rows:
            response = tuple(row["response_ids"])
            behaviour = sum(row["behaviour_logprobs"] or ())
            columns.append((questions, number[response], row[f"reward_{reward}"], logp[response], behaviour))
        questions += bool(rows)
    if not columns:
        return None
    question_n, response_n, reward_n, target_n, behaviour_n = np.array(columns, np.float64).T
    return Logged(question_n.astype(np.int64), response_n.astype(np.int64), reward_n, target_n, behaviour_n)
