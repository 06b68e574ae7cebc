"""`trialign logs turns`: what each turn of logged games gives and costs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from trialign_ray.data.dataset import read_logs
from trialign_ray.errors import naming
from trialign_ray.evaluation.stats.intervals import Bootstrap
from trialign_ray.evaluation.turns.report import TurnReport, turn_report
from trialign_ray.evaluation.turns.rows import COLUMNS, Floats, TurnRows, read_turns
from trialign_ray.io.storage import locate
from trialign_ray.progress import Progress, Silent


def turns(
    logs: Sequence[str],
    model: str | None = None,
    bootstrap: Bootstrap | None = None,
    *,
    dtype: str = "auto",
    device: str = "auto",
    progress: Progress | None = None,
) -> tuple[TurnReport, ...]:
    """A report for each protocol in each log dataset. With the folder of a `model` it says sayability too.

    dtype: 'bfloat16', 'float32' or 'auto'. device: 'cpu', 'cuda' or 'auto'. Raises DataError and ModelError.
    """
    held = [(name, rows) for name in logs for rows in read_turns(read_logs(name, columns=COLUMNS), locate(name).uri)]
    scores: list[Floats | None] = [None for _ in held]
    if model is not None:
        scores = [*_sayability([rows for _, rows in held], model, dtype, device, progress or Silent())]
    bootstrap = bootstrap or Bootstrap()
    pairs = zip(held, scores, strict=True)
    return tuple(turn_report(rows, name, bootstrap, score_r) for (name, rows), score_r in pairs)


def _sayability(held: Sequence[TurnRows], model: str, dtype: str, device: str, progress: Progress) -> Sequence[Floats]:
    """For each response that is right its mean log-prob per token behind its cell's turn-1 prompt, NaN for others."""
    from trialign_ray.io.cache import local_folder
    from trialign_ray.models.placement import device_of, dtype_of
    from trialign_ray.trainer.option_scores import load_scorer  # PyTorch, which counting needs not
    from trialign_ray.trainer.packing import Tree

    with naming("model"):
        placed = device_of(device)
        scorer = load_scorer(local_folder(model), None, dtype_of(dtype, placed), placed)
    # One tree for each prompt, whatever the protocol: the games of all share their first turn.
    said: dict[tuple[int, ...], dict[tuple[int, ...], float]] = {}
    for rows in held:
        for prompt, response in _right(rows).values():
            said.setdefault(prompt, {})[response] = np.nan
    trees = [Tree(prompt, list(responses)) for prompt, responses in said.items()]
    progress.begin("scoring right responses", len(trees))
    for tree, logp_s in zip(trees, scorer.logprobs(trees, progress.advance), strict=True):
        for ids, logp in zip(tree.responses, logp_s, strict=True):
            said[tuple(tree.prompt)][tuple(ids)] = logp / len(ids)
    progress.end()
    scores = []
    for rows in held:
        score_r = np.full(len(rows.turn_r), np.nan)
        for row, (prompt, response) in _right(rows).items():
            score_r[row] = said[prompt][response]
        scores.append(score_r)
    return scores


def _right(rows: TurnRows) -> dict[int, tuple[tuple[int, ...], tuple[int, ...]]]:
    """Row of each right response -> its cell's turn-1 prompt, and its token ids; without token ids it is left out."""
    first = {rows.cell_r[row]: tuple(rows.prompt_r[row]) for row in np.flatnonzero(rows.turn_r == 1)}
    right = [int(row) for row in np.flatnonzero(rows.right_r)]
    found = {row: (first.get(rows.cell_r[row], ()), tuple(rows.response_r[row])) for row in right}
    return {row: pair for row, pair in found.items() if all(pair)}
