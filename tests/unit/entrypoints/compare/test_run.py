"""A grid that is killed goes on with the cells that are left, and its report says what every arm came to."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.unit.entrypoints.compare.samples import compare_spec
from tests.world import World
from trialign_ray.config.compare import CompareSpec
from trialign_ray.entrypoints.compare import run
from trialign_ray.entrypoints.compare.cell import run_cell
from trialign_ray.entrypoints.compare.cells import Cell
from trialign_ray.entrypoints.compare.folder import CompareFolder
from trialign_ray.entrypoints.compare.registered import register
from trialign_ray.errors import CellError, CheckpointError, DataError
from trialign_ray.evaluation.comparison.model import Comparison
from trialign_ray.progress import Progress


def test_a_grid_is_killed_fails_is_continued_and_reported(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    spec, ran = compare_spec(world, tmp_path), list[str]()
    trouble: dict[str, BaseException] = {"ours": KeyboardInterrupt()}

    def troubled(spec: CompareSpec, cell: Cell, progress: Progress) -> None:
        if (error := trouble.pop(cell.arm, None)) is not None:
            raise error
        run_cell(spec, cell, progress)
        ran.append(cell.arm)

    monkeypatch.setattr(run, "run_cell", troubled)
    with pytest.raises(KeyboardInterrupt):
        run.compare(spec, local=True)
    assert ran == ["base", "persona_deleted"]

    trouble["ours"] = DataError("the disk is full.")
    with pytest.raises(CellError, match="ours in all, seed 0: DataError: the disk is full"):
        run.compare(spec, local=True)
    assert ran == ["base", "persona_deleted", "sft"]

    run.compare(spec, local=True)
    assert ran == ["base", "persona_deleted", "sft", "ours"]
    run.compare(spec, local=True)
    assert len(ran) == 4

    the_report_says_what_every_arm_came_to(tmp_path / "smoke")
    changes_after_the_first_cell_are_refused(spec, tmp_path / "smoke")


def the_report_says_what_every_arm_came_to(folder: Path) -> None:
    found = Comparison.model_validate_json((folder / "comparison.json").read_text())
    (rows,) = (regime.rows for regime in found.regimes)
    assert [(row.arm, row.seeds, row.calls) for row in rows] == [
        *[("base", (), 1), ("vote", (), 3), ("persona_deleted", (), 1)],
        *[("ours", (0,), 1), ("sft", (0,), 1)],
    ]
    assert [row.steps for row in rows] == [0, 0, 0, 2, 4]
    assert [row.scored_tokens is None for row in rows] == [True, True, True, False, False]
    assert rows[4].scored_tokens == 2 * (rows[3].scored_tokens or 0) > 2 * rows[3].training_tokens
    assert all(row.perplexity and row.perplexity > 1 for row in rows)
    assert all(contrast.difference is not None for contrast in found.contrasts)
    assert not found.failed
    page = (folder / "comparison.html").read_text()
    assert all(arm in page for arm in ("base", "ours", "sft"))
    assert "Predicted: Nothing wins" in (folder / "comparison.md").read_text()


def changes_after_the_first_cell_are_refused(spec: CompareSpec, folder: Path) -> None:
    """What a result could be chosen by; seeds and arms may be added."""
    added = spec.model_copy(update={"contrasts": spec.contrasts[:1]})
    with pytest.raises(CheckpointError, match="'contrasts' was changed after the first cell was finished"):
        run.compare(added, report_only=True)
    other = spec.algorithms["sft"].model_copy(update={"train": {"epochs": 3}})
    changed = spec.model_copy(update={"algorithms": {**spec.algorithms, "sft": other}})
    with pytest.raises(CheckpointError, match=r"'algorithms\.sft' was changed after the first cell was finished"):
        run.compare(changed, report_only=True)
    fewer = spec.model_copy(update={"evaluation": spec.evaluation.model_copy(update={"most": 1})})
    with pytest.raises(CheckpointError, match="'evaluation' was changed"):
        run.compare(fewer, report_only=True)
    slower = spec.model_copy(update={"base": {**spec.base, "optimizer": {"learning_rate": 0.01}}})
    with pytest.raises(CheckpointError, match="'base' was changed"):
        run.compare(slower, report_only=True)
    drawn = spec.model_copy(update={"evaluation": spec.evaluation.model_copy(update={"cluster": "subject"})})
    with pytest.raises(CheckpointError, match=r"'evaluation\.cluster' was changed"):
        run.compare(drawn, report_only=True)
    what_could_flatter_is_refused_too(spec, folder)
    registered = json.loads((folder / "registered.json").read_text())
    del registered["evaluation.cluster"]  # as a version without that field left it
    (folder / "registered.json").write_text(json.dumps(registered))
    run.compare(spec, report_only=True)
    with pytest.raises(CheckpointError, match=r"'evaluation\.cluster' was changed"):
        run.compare(drawn, report_only=True)
    more = spec.model_copy(update={"algorithms": {**spec.algorithms, "again": other}, "seeds": (0, 1)})
    run.compare(more, report_only=True)


def what_could_flatter_is_refused_too(spec: CompareSpec, folder: Path) -> None:
    """Arms that lost cannot go, other people cannot be asked, and rates cannot be chosen another way."""
    told = spec.algorithms["ours"].model_dump() | {"algorithm": {"name": "trialign", "utility_of": "candidates"}}
    arms = spec.model_dump()["algorithms"] | {"ours": told}
    register(CompareSpec.model_validate(spec.model_dump() | {"algorithms": arms}), CompareFolder.of(spec), keep=False)
    alone = spec.model_copy(update={"algorithms": {"ours": spec.algorithms["ours"]}, "contrasts": spec.contrasts})
    with pytest.raises(CheckpointError, match=r"'algorithms\.sft' was removed after the first cell was finished"):
        run.compare(alone, report_only=True)
    unread = spec.model_copy(update={"references": ("base", "vote")})
    with pytest.raises(CheckpointError, match=r"'references\.persona_deleted' was removed"):
        run.compare(unread, report_only=True)
    other = folder.parent / "other_groups.yaml"
    other.write_text(Path(spec.evaluation.groups).read_text().replace("farmer", "pilot"))
    asked = spec.regimes["all"].model_copy(update={"groups": str(other)})
    with pytest.raises(CheckpointError, match=r"'regimes\.all\.groups' was changed"):
        run.compare(spec.model_copy(update={"regimes": {"all": asked}}), report_only=True)
    fewer = spec.regimes["all"].model_copy(update={"algorithms": ("ours",)})
    with pytest.raises(CheckpointError, match=r"'regimes\.all\.algorithms\.sft' was removed"):
        run.compare(spec.model_copy(update={"regimes": {"all": fewer}}), report_only=True)
    judged = spec.validation.model_copy(update={"figure": "closed.everyone"})
    with pytest.raises(CheckpointError, match="'validation' was changed"):
        run.compare(spec.model_copy(update={"validation": judged}), report_only=True)
