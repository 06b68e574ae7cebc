"""Which cells a grid has, what each depends on, and how a learning rate is chosen."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from tests.unit.entrypoints.compare.samples import compare_spec
from tests.unit.evaluation.comparison.test_measured import table
from tests.world import World
from trialign_ray.config.compare import CompareSpec
from trialign_ray.data.dataset import read_logs
from trialign_ray.entrypoints.compare.cells import (
    Cell,
    cheapest_first,
    reads_free,
    reference_cells,
    trained_cells,
    trial_cells,
)
from trialign_ray.entrypoints.compare.check import check_training, checked_cells
from trialign_ray.entrypoints.compare.folder import CellResult, CompareFolder
from trialign_ray.entrypoints.compare.game import held_out_game
from trialign_ray.entrypoints.compare.logs import logs_of
from trialign_ray.entrypoints.compare.rates import chosen_rates
from trialign_ray.errors import DataError, ModelError, SpecError

PREDICTED = "Nothing wins: random weights, four questions."
RATES = {"weighted": [0.02, 0.01, 0.03]}
ARM = {"algorithm": {"name": "trialign"}, "family": "weighted"}


@pytest.fixture
def tuned(world: World, tmp_path: Path) -> CompareSpec:
    validation = {"share": 0.5, "figure": "closed.everyone"}
    return compare_spec(
        world, tmp_path, algorithms={"ours": ARM}, learning_rates=RATES, contrasts=[], validation=validation
    )


def finish(spec: CompareSpec, cell: Cell, answers: pa.Table) -> None:
    result: dict[str, Any] = {
        **{"key": cell.key, "stage": cell.stage, "arm": cell.arm, "regime": cell.regime, "seed": cell.seed},
        **{"learning_rate": 0.0, "steps": 1, "training_tokens": 1, "training_seconds": 1, "seconds": 1, "calls": 1},
        **{"tokens": 1, "text_logprob": None, "text_tokens": 0, "device": "cpu", "finished_at": "", "versions": {}},
    }
    CompareFolder.of(spec).finish(CellResult(**result), answers)


def keys(world: World, folder: Path, **changes: Any) -> list[str]:
    return [cell.key for cell in trained_cells(compare_spec(world, folder, contrasts=[], **changes), {})]


def test_a_cell_depends_on_its_work_and_not_on_names_or_places(world: World, tmp_path: Path):
    before = keys(world, tmp_path)
    assert keys(world, tmp_path / "elsewhere", name="other") == before
    evaluation = compare_spec(world, tmp_path).evaluation.model_dump(exclude_unset=True)
    assert keys(world, tmp_path, evaluation=evaluation | {"bootstrap": 500, "cluster": "subject"}) == before
    for changes in (
        {"seeds": [1]},
        {"regimes": {"all": {"predicted": PREDICTED, "logs": {"labels_kept": 0.5}}}},
        {"regimes": {"all": {"predicted": PREDICTED, "train": {"lora": {"rank": 2}}}}},
        {"evaluation": evaluation | {"options": 3}},
    ):
        assert not set(keys(world, tmp_path, **changes)) & set(before)


def test_cells_that_are_asked_differently_share_their_training(world: World, tmp_path: Path):
    spec = compare_spec(world, tmp_path, contrasts=[])
    asked = compare_spec(
        world, tmp_path, contrasts=[], evaluation=spec.evaluation.model_dump(exclude_unset=True) | {"options": 3}
    )
    both = list(zip(trained_cells(spec, {}), trained_cells(asked, {}), strict=True))
    assert all(one.training_key == other.training_key != "" for one, other in both)
    assert len({cell.training_key for pair in both for cell in pair}) == 2


def test_regimes_that_ask_for_the_same_work_share_it(world: World, tmp_path: Path):
    regimes = {name: {"predicted": PREDICTED} for name in ("one", "two")}
    regimes["few"] = {"predicted": PREDICTED, "logs": {"labels_kept": 0.5}, "algorithms": ["ours"], "seeds": [4, 5]}  # type: ignore[dict-item]
    spec = compare_spec(world, tmp_path, regimes=regimes, contrasts=[])
    assert [(cell.arm, cell.regime, cell.seed) for cell in trained_cells(spec, {})] == [
        *[("ours", "one", 0), ("sft", "one", 0), ("ours", "few", 4), ("ours", "few", 5)]
    ]
    assert [(cell.arm, cell.regime) for cell in reference_cells(spec)] == [("base", "one"), ("persona_deleted", "one")]


def test_an_arm_with_labels_of_its_own_has_logs_of_its_own_in_each_regime(world: World, tmp_path: Path):
    given = compare_spec(world, tmp_path).model_dump(mode="json", exclude_unset=True)["algorithms"]["ours"]
    plain, guessed = trained_cells(
        compare_spec(
            world,
            tmp_path,
            algorithms={"ours": given, "guessed": given | {"logs": {"pseudo_labels": True}}},
            regimes={"few": {"predicted": PREDICTED, "logs": {"labels_kept": 0.5}}},
            contrasts=[],
        ),
        {},
    )
    assert (plain.changes.pseudo_labels, guessed.changes.pseudo_labels) == (False, True)
    assert plain.changes.labels_kept == guessed.changes.labels_kept == 0.5
    assert plain.training_key != guessed.training_key


def test_references_come_first_then_fewer_epochs_then_whole_seeds(world: World, tmp_path: Path):
    spec = compare_spec(world, tmp_path, seeds=[0, 1])
    order = cheapest_first([*trained_cells(spec, {}), *reference_cells(spec)], spec)
    assert [(cell.arm, cell.seed) for cell in order] == [
        *[("base", 0), ("persona_deleted", 0), ("ours", 0), ("ours", 1), ("sft", 0), ("sft", 1)]
    ]


def test_a_trial_asks_training_questions_that_it_does_not_train_on(tuned: CompareSpec):
    (cells,) = trial_cells(tuned).values()
    assert [cell.train.optimizer.learning_rate for cell in cells] == [0.01, 0.02, 0.03]
    asked = held_out_game(tuned, tuned.regimes["all"], cells[0].validation)
    assert len(asked.scored) == 2
    assert {question.split for question in asked.scored} == {"train"}
    assert asked.free == ()
    trained = set(read_logs(logs_of(tuned, cells[0]))["question_id"].to_pylist())
    assert trained
    assert not trained & set(cells[0].validation)


def test_questions_that_trials_ask_have_to_be_in_the_set(tuned: CompareSpec):
    with pytest.raises(DataError, match="has none of the 1 training questions that trials ask"):
        held_out_game(tuned, tuned.regimes["all"], ("unknown",))


def test_a_model_that_would_answer_wrongly_is_refused(tuned: CompareSpec, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("trialign_ray.trainer.guard.generation._JUDGED", {})
    monkeypatch.setattr("trialign_ray.trainer.guard.generation.TOLERANCE", -1)
    with pytest.raises(ModelError, match="field 'model': models of type 'llama' would get wrong responses"):
        checked_cells(tuned)
    silent = tuned.evaluation.model_copy(update={"most_free": 0})
    closed = tuned.model_copy(update={"evaluation": silent, "references": ("base",)})
    assert checked_cells(closed)  # options alone are read: nothing is written
    with pytest.raises(ModelError, match="would get wrong responses"):
        checked_cells(closed.model_copy(update={"references": ("persona_rewritten",)}))


def test_logs_that_hold_what_is_held_out_are_refused(tuned: CompareSpec):
    (cell,) = trained_cells(tuned, {"weighted": 0.02})
    game = held_out_game(tuned, tuned.regimes["all"])
    check_training(tuned, cell, game)
    held_out = tuple(question.model_copy(update={"split": "heldout"}) for question in game.questions.questions)
    questions = game.questions.model_copy(update={"questions": held_out})
    with pytest.raises(DataError, match="4 of 4 training questions are held out"):
        check_training(tuned, cell, replace(game, questions=questions))


def test_a_group_that_is_asked_needs_an_adapter_of_its_own_where_each_has_one(world: World, tmp_path: Path):
    under = {
        **{"predicted": PREDICTED, "train": {"policy": "per_group"}},
        "logs": {"without_groups": ["farmer", "professor"]},
    }
    spec = compare_spec(world, tmp_path, regimes={"all": under})
    with pytest.raises(SpecError, match=r"'evaluation.groups': regime 'all' trains no adapter for group 'farmer'"):
        checked_cells(spec)


def test_missing_logs_are_told_with_the_field_that_names_them(world: World, tmp_path: Path):
    def refused(**changes: Any) -> str | None:
        with pytest.raises(DataError) as caught:
            checked_cells(compare_spec(world, tmp_path, contrasts=[], learning_rates=RATES, **changes))
        return caught.value.field

    missing = {"logs": str(tmp_path / "none")}
    arms: dict[str, dict[str, Any]] = {"ours": ARM, "sft": {"algorithm": {"name": "sft"}}}
    base = compare_spec(world, tmp_path).base
    assert refused(algorithms=arms, base=base | missing) == "base.logs"
    assert refused(algorithms=arms | {"sft": arms["sft"] | {"train": missing}}) == "algorithms.sft.train.logs"
    regimes = {"all": {"predicted": PREDICTED, "train": missing}}
    assert refused(algorithms=arms, regimes=regimes) == "regimes.all.train.logs"


def test_an_arm_may_be_read_in_the_closed_set_alone(world: World, tmp_path: Path):
    arms = {"ours": {"algorithm": {"name": "trialign"}}, "sft": {"algorithm": {"name": "sft"}, "free": False}}
    spec = compare_spec(world, tmp_path, algorithms=arms, contrasts=[])
    ours, sft = trained_cells(spec, {})
    assert (reads_free(spec, ours), reads_free(spec, sft)) == (True, False)
    both = compare_spec(world, tmp_path, algorithms=arms | {"sft": {"algorithm": {"name": "sft"}}}, contrasts=[])
    (_, heard) = trained_cells(both, {})
    assert heard.key != sft.key
    assert heard.training_key == sft.training_key


def test_fewer_questions_are_asked_the_same_ones_each_time_and_fewer_still_freely(world: World, tmp_path: Path):
    told = compare_spec(world, tmp_path).evaluation.model_dump(exclude_unset=True)
    spec = compare_spec(world, tmp_path, evaluation=told | {"most": 1, "most_free": 0}, contrasts=[])
    games = [held_out_game(spec, spec.regimes["all"]) for _ in range(2)]
    assert len(games[0].scored) == 1
    assert games[0].scored == games[1].scored
    assert games[0].free == ()


def test_few_subjects_are_not_drawn(world: World, tmp_path: Path):
    spec = compare_spec(world, tmp_path)
    few = spec.evaluation.model_copy(update={"cluster": "subject"})
    with pytest.raises(SpecError, match=r"field 'evaluation.cluster': .* are about \d+ subjects"):
        held_out_game(spec.model_copy(update={"evaluation": few}), None)


def test_the_best_trial_gives_the_rate_and_of_equal_ones_the_lower(tuned: CompareSpec):
    (cells,) = trial_cells(tuned).values()
    folder, right, wrong = CompareFolder.of(tuned), table([["a", "a", "a"]]), table([["b", "a", "a"]])
    finish(tuned, cells[0], wrong)
    finish(tuned, cells[1], right)
    assert chosen_rates(tuned, folder) == {}
    assert trained_cells(tuned, {}) == []
    finish(tuned, cells[2], right)
    assert chosen_rates(tuned, folder) == {"weighted": 0.02}
    (cell,) = trained_cells(tuned, chosen_rates(tuned, folder))
    assert cell.train.optimizer.learning_rate == 0.02


def test_a_family_with_one_rate_has_no_trials(world: World, tmp_path: Path):
    spec = compare_spec(world, tmp_path, algorithms={"ours": ARM}, learning_rates={"weighted": [0.03]}, contrasts=[])
    assert trial_cells(spec) == {}
    assert chosen_rates(spec, CompareFolder.of(spec)) == {"weighted": 0.03}
