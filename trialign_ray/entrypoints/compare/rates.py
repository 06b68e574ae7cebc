"""The learning rate of each family: the one whose trial came out best on the validation questions."""

from __future__ import annotations

import numpy as np

from trialign_ray.config.compare import LOWER_IS_BETTER, CompareSpec
from trialign_ray.entrypoints.compare.cells import Cell, trial_cells
from trialign_ray.entrypoints.compare.folder import CompareFolder
from trialign_ray.evaluation.comparison.measured import measured


def chosen_rates(spec: CompareSpec, folder: CompareFolder) -> dict[str, float]:
    """Family -> its rate; a family whose trials are not all finished has none."""
    trials = trial_cells(spec)
    found = {family: rates[0] for family, rates in spec.learning_rates.items() if family not in trials}
    for family, cells in trials.items():
        if all(folder.result(cell.key) is not None for cell in cells):
            # Ascending, so that of equal figures the lower rate is taken.
            best = max(cells, key=lambda cell: _figure(spec, folder, cell))
            found[family] = best.train.optimizer.learning_rate
    return found


def _figure(spec: CompareSpec, folder: CompareFolder, cell: Cell) -> float:
    """Higher is better; NaN, where nothing was named, is the worst."""
    name = spec.validation.figure
    answers = measured(folder.answers(cell.key))
    value = float(answers.statistics[name](np.ones((1, answers.questions[name.partition(".")[0]])))[0])
    return float("-inf") if np.isnan(value) else (-value if name in LOWER_IS_BETTER else value)
