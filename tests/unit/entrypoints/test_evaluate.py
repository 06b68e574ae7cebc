"""An evaluation from logs: fresh draws by default, importance where it is asked for and supported, bounds always."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from typer.testing import CliRunner

from tests.world import World
from trialign_ray.cli.app import app
from trialign_ray.config.base import parse
from trialign_ray.config.evaluate import EvaluateSpec
from trialign_ray.data.dataset import read_logs, write_logs
from trialign_ray.data.schema import SCHEMA
from trialign_ray.entrypoints.evaluate import evaluate
from trialign_ray.errors import DataError, SpecError

GROUPS = ("neutral", "farmer", "professor")
Row = dict[str, Any]


@pytest.fixture(scope="module")
def sampled(world: World, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Logs that the tiny model itself sampled at temperature 0.7."""
    raw = read_logs(str(world.folder / "raw")).to_pylist()
    folder = str(tmp_path_factory.mktemp("sampled") / "logs")
    write_logs(pa.Table.from_pylist(raw, schema=SCHEMA), folder, GROUPS)
    return folder


def spec(world: World, logs: str, folder: Path, **changes: object) -> EvaluateSpec:
    fields: Row = {"name": "e", "logs": logs, "model": world.model, "temperature": 0.7, "split": "train"}
    fields |= {"runs": str(folder), "bootstrap": 100}
    if "importance" not in changes:
        fields |= {"questions": world.questions, "groups": world.groups}
    return parse(EvaluateSpec, fields | changes, "the test")


def rewritten(logs: str, folder: Path, change: Callable[[Row], Row]) -> str:
    rows = [row | change(row) for row in read_logs(logs).to_pylist()]
    write_logs(pa.Table.from_pylist(rows, schema=SCHEMA), str(folder / "changed"), GROUPS)
    return str(folder / "changed")


def test_fresh_draws_are_made_as_logged_and_lie_within_what_is_reported(
    world: World, sampled: str, tmp_path: Path
) -> None:
    report = evaluate(spec(world, sampled, tmp_path, samples=2))
    assert {value.method for value in report.values} == {"fresh draws"}
    assert "temperature 0.7; not its greedy answers" in report.target
    drawn = read_logs(str(tmp_path / "e" / "answers")).to_pylist()
    assert max(len(row["response_ids"]) for row in drawn) <= 6
    assert {(row["question_id"], row["group"], tuple(row["prompt_ids"])) for row in drawn} == {
        (row["question_id"], row["group"], tuple(row["prompt_ids"])) for row in read_logs(sampled).to_pylist()
    }
    for value in report.values:
        own = [row for row in drawn if row["group"] == value.group and row[f"reward_{value.reward}"] is not None]
        assert value.value is not None
        assert value.value.value == pytest.approx(sum(row[f"reward_{value.reward}"] for row in own) / len(own))
        assert value.lower.value <= value.upper.value
    assert json.loads((tmp_path / "e" / "offline.json").read_text()) == report.model_dump(mode="json")


def test_importance_gives_no_number_without_enough_support(world: World, sampled: str, tmp_path: Path) -> None:
    report = evaluate(spec(world, sampled, tmp_path, importance=True))
    for value in report.values:
        assert (value.method, value.value) == ("importance", None)
        assert value.support is not None
        # The policy is the one that was logged, so the weights are 1: rows are lacking, and nothing else.
        assert value.support.effective_rows == pytest.approx(value.rows, rel=1e-3)
        assert value.support.coverage == pytest.approx(1.0, abs=1e-3)
        assert any("effective sample size" in fault for fault in value.refused)


def test_importance_of_the_logged_policy_is_the_mean_of_the_logs(world: World, sampled: str, tmp_path: Path) -> None:
    rows = read_logs(sampled).to_pylist()
    many = [row | {"sample": 3 * copy + row["sample"], "reward_truth": 1.0} for row in rows for copy in range(9)]
    write_logs(pa.Table.from_pylist(many, schema=SCHEMA), str(tmp_path / "many"), GROUPS)
    report = evaluate(spec(world, str(tmp_path / "many"), tmp_path, importance=True))
    for value in report.values:
        own = [row[f"reward_{value.reward}"] for row in many if row["group"] == value.group]
        if value.value is not None:
            assert value.value.value == pytest.approx(sum(own) / len(own), abs=1e-3)
    assert {value.group for value in report.values if value.reward == "truth" and value.value} == set(GROUPS)


def test_a_preference_without_its_rule_cannot_be_recomputed(world: World, sampled: str, tmp_path: Path) -> None:
    logs = rewritten(sampled, tmp_path, lambda _: {"preference": None})
    report = evaluate(spec(world, logs, tmp_path, samples=2))
    assert {(value.reward, value.method) for value in report.values} == {
        ("truth", "fresh draws"),
        ("preference", "importance"),
    }
    assert any("preference: cannot be recomputed" in note for note in report.notes)


def test_logs_without_log_probs_have_no_importance_but_fresh_draws(world: World, sampled: str, tmp_path: Path) -> None:
    logs = rewritten(sampled, tmp_path, lambda _: {"behaviour_logprobs": None})
    with pytest.raises(DataError, match=r"field 'behaviour_logprobs' is missing.*fresh draws"):
        evaluate(spec(world, logs, tmp_path, importance=True))
    assert all(value.value is not None for value in evaluate(spec(world, logs, tmp_path, samples=2)).values)


def test_log_probs_of_another_temperature_are_refused(world: World, sampled: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"'behaviour_logprobs' is .* nats a token away.*temperature 2.*--temperature"):
        evaluate(spec(world, sampled, tmp_path, importance=True, temperature=2.0))


def test_greedy_logs_are_refused(world: World, sampled: str, tmp_path: Path) -> None:
    same = {"response_ids": [5, 3], "behaviour_logprobs": [-1.0, -1.0]}
    with pytest.raises(DataError, match="the logs are greedy"):
        evaluate(spec(world, rewritten(sampled, tmp_path, lambda _: same), tmp_path, importance=True))


def test_a_response_that_begins_another_is_refused(world: World, sampled: str, tmp_path: Path) -> None:
    def cut(row: Row) -> Row:
        kept = [5, 6, 3][: row["sample"] + 1]
        return {"response_ids": kept, "behaviour_logprobs": [-1.0] * len(kept)}

    with pytest.raises(DataError, match="different token limits"):
        evaluate(spec(world, rewritten(sampled, tmp_path, cut), tmp_path))


def test_questions_asked_in_other_words_are_refused(world: World, sampled: str, tmp_path: Path) -> None:
    logs = rewritten(sampled, tmp_path, lambda row: {"prompt_ids": [*row["prompt_ids"], 5]})
    with pytest.raises(DataError, match="asked in other words"):
        evaluate(spec(world, logs, tmp_path))


def test_a_question_that_the_set_lacks_is_refused(world: World, sampled: str, tmp_path: Path) -> None:
    logs = rewritten(sampled, tmp_path, lambda row: {"question_id": f"other-{row['question_id']}"})
    with pytest.raises(DataError, match=r"field 'questions': .*lacks 4 logged questions.*--importance"):
        evaluate(spec(world, logs, tmp_path))


def test_one_set_alone_or_none_is_refused(world: World, sampled: str, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="give both, or neither"):
        spec(world, sampled, tmp_path, groups=None)
    with pytest.raises(SpecError, match="or set 'importance'"):
        spec(world, sampled, tmp_path, groups=None, questions=None)


@pytest.mark.parametrize("unused", [{"samples": 3}, {"max_new_tokens": 5}, {"chat_template_kwargs": {"a": 1}}])
def test_what_importance_sampling_does_not_use_is_refused(
    world: World, sampled: str, tmp_path: Path, unused: Row
) -> None:
    with pytest.raises(SpecError, match=f"'{next(iter(unused))}' is of fresh draws"):
        spec(world, sampled, tmp_path, importance=True, **unused)


def test_the_command_prints_the_refusal_and_no_number(world: World, sampled: str, tmp_path: Path) -> None:
    arguments = ["--offline", sampled, "--model", world.model, "--temperature", "0.7", "--importance"]
    more = ["--split", "train", "--questions-at-most", "2", "--bootstrap", "100", "--runs", str(tmp_path)]
    done = CliRunner().invoke(app, ["evaluate", *arguments, *more, "--name", "c"])
    assert done.exit_code == 0, done.output
    assert "not enough support" in done.output
    report = json.loads((tmp_path / "c" / "offline.json").read_text())
    assert {value["questions"] for value in report["values"] if value["reward"] == "truth"} == {2}
