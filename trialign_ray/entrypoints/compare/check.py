"""What a comparison would run, and everything that can be refused before the first cell does."""

from __future__ import annotations

from trialign_ray.config.compare import PROMPTED, CompareSpec
from trialign_ray.data.dataset import open_dataset
from trialign_ray.data.held_out import refuse_held_out
from trialign_ray.entrypoints.compare.cells import Cell, reads_free, reference_cells, trained_cells, trial_cells
from trialign_ray.entrypoints.compare.game import HeldOutGame, held_out_game
from trialign_ray.entrypoints.compare.logs import logs_of
from trialign_ray.errors import SpecError, naming
from trialign_ray.io.cache import local_folder
from trialign_ray.trainer.guard.generation import refuse_wrong_generation
from trialign_ray.trainer.guard.verdict import config_of
from trialign_ray.trainer.resolve import plan_training


def checked_cells(spec: CompareSpec) -> list[Cell]:
    """Every cell, those of a family under its first rate until its trials are finished; writes the changed logs.

    Raises SpecError, DataError and ModelError, which name the field.
    """
    games = {label: held_out_game(spec, regime) for label, regime in spec.regimes.items()}
    trials = [cell for cells in trial_cells(spec).values() for cell in cells]
    grid = trained_cells(spec, {family: rates[0] for family, rates in spec.learning_rates.items()})
    trained = [*trials, *grid]
    for cell in {(cell.arm, cell.regime, cell.validation): cell for cell in trained}.values():
        check_training(spec, cell, games[cell.regime])
    for cell in trials:
        held_out_game(spec, spec.regimes[cell.regime], cell.validation)
    cells = [*reference_cells(spec), *trained]
    for model in sorted({cell.train.model for cell in cells if _writes(spec, cell, games[cell.regime])}):
        with naming("model"):
            refuse_wrong_generation(config_of(local_folder(model)), spec.evaluation.generator, 1)
    return cells


def _writes(spec: CompareSpec, cell: Cell, game: HeldOutGame) -> bool:
    """Whether the cell's model is asked to write: some references rewrite prompts even where options alone are read."""
    if cell.stage == "trial":
        return spec.validation.figure.startswith("free.")
    return cell.arm in PROMPTED or (bool(game.free) and reads_free(spec, cell))


def check_training(spec: CompareSpec, cell: Cell, game: HeldOutGame) -> None:
    """Make the cell's logs; raises DataError where they cannot be made, suit the arm's algorithm, or are held out.

    Raises SpecError where a group that is asked would have no adapter of its own.
    """
    with naming(f"regimes.{cell.regime}.logs"):
        dataset = open_dataset(logs_of(spec, cell))
        plan = plan_training(cell.train, dataset)
        refuse_held_out(plan.sampler.question_ids, dataset.folder.uri, game.questions, spec.evaluation.questions)
    without = [name for name in game.groups.names if name not in plan.groups]
    if cell.train.policy == "per_group" and without:
        field = f"regimes.{cell.regime}.groups" if spec.regimes[cell.regime].groups else "evaluation.groups"
        raise SpecError(
            f"field '{field}': regime '{cell.regime}' trains no adapter for group '{without[0]}', as arm '{cell.arm}' "
            "with 'policy: per_group' needs. Keep its logs, do not ask it there, or set 'policy: shared'."
        )
