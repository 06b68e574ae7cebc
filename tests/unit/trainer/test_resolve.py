"""A run's inputs are found once, at the door: the manifest is read a single time, faults name the field."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.tiny import save_tiny
from tests.unit.actors.samples import GROUPS, wrong
from tests.unit.data.samples import table
from trialign_ray.config.train import TrainSpec
from trialign_ray.data import dataset
from trialign_ray.data.dataset import write_logs
from trialign_ray.errors import DataError, ModelError, SpecError
from trialign_ray.io.run_folder import RunFolder
from trialign_ray.trainer.resolve import ResolvedRun, resolve

NOWHERE = {"name": "import_path", "import_path": "nowhere:Engine"}
EVALUATION = {"questions": "demo/questions.json", "groups": "demo/groups.yaml"}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model, and logs of three questions, one of which the nurse was not asked."""
    folder = tmp_path_factory.mktemp("inputs")
    save_tiny(folder / "model")
    rows = [*wrong("q0"), *wrong("q1"), *wrong("q2")[:2]]
    write_logs(table(rows), folder / "logs", GROUPS)
    return folder


def spec(inputs: Path, **changes: Any) -> TrainSpec:
    fields = {"name": "demo", "model": str(inputs / "model"), "logs": str(inputs / "logs"), "questions_per_step": 2}
    return TrainSpec.model_validate(fields | {"runs": str(inputs / "runs")} | changes)


def resolved(inputs: Path, **changes: Any) -> ResolvedRun:
    made = spec(inputs, **changes)
    return resolve(made, RunFolder.of(made))


def test_the_manifest_is_read_once(inputs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[str] = []
    parse = dataset._parse_manifest

    def counted(text: bytes, uri: str) -> Any:
        reads.append(uri)
        return parse(text, uri)

    monkeypatch.setattr(dataset, "_parse_manifest", counted)
    run = resolved(inputs)
    dataset.read_logs(run.logs, "nurse")
    assert len(reads) == 1


def test_the_plan_takes_every_question_whoever_was_asked(inputs: Path) -> None:
    run = resolved(inputs, epochs=4)
    assert run.plan.groups == GROUPS
    assert run.plan.sampler.question_ids == ("q0", "q1", "q2")
    assert (run.plan.derived.steps, run.plan.empty) == (6, 1)
    assert "1 pairs empty" in run.plan.announce(run.spec)


def test_an_algorithm_that_compares_with_the_control_takes_what_the_control_was_asked(
    inputs: Path, tmp_path: Path
) -> None:
    write_logs(table([*wrong("q0"), *wrong("q1"), *wrong("q2")[1:]]), tmp_path / "logs", GROUPS)
    run = resolved(inputs, logs=str(tmp_path / "logs"), algorithm={"name": "rmct"})
    assert run.plan.sampler.question_ids == ("q0", "q1")


def test_hashes_follow_the_content(inputs: Path) -> None:
    run = resolved(inputs)
    assert set(run.hashes) == {"model_hash", "tokenizer_hash", "logs_sha256"}
    assert run.hashes["logs_sha256"] == run.logs.manifest.content_sha256
    assert run.game is None


@pytest.mark.parametrize(
    ("changes", "error", "field"),
    [
        ({"model": "/nowhere"}, ModelError, "model"),
        ({"logs": "/nowhere"}, DataError, "logs"),
        ({"metrics": [{"import_path": "nowhere:Writer"}]}, SpecError, "metrics"),
        (
            {"metrics": [{"import_path": "tests.unit.trainer.test_metric_writers:Collected", "options": {"x": 1}}]},
            SpecError,
            "metrics",
        ),
        ({"metrics": [{"import_path": "tests.unit.trainer.test_metric_writers:GAUGES"}]}, SpecError, "metrics"),
        ({"learner": {"attention": NOWHERE}}, SpecError, "learner.attention"),
        ({"evaluation": EVALUATION | {"generator": NOWHERE}}, SpecError, "evaluation.generator"),
        ({"algorithm": {"loss": {"name": "import_path", "import_path": "nowhere:Loss"}}}, SpecError, "algorithm"),
        ({"evaluation": {"questions": "/nowhere", "groups": "/nowhere"}}, SpecError, "evaluation.questions"),
        ({"questions_per_step": 100}, SpecError, "questions_per_step"),
    ],
)
def test_a_fault_names_its_field(inputs: Path, changes: dict[str, Any], error: type[Exception], field: str) -> None:
    with pytest.raises(error) as caught:
        resolved(inputs, **changes)
    assert getattr(caught.value, "field", None) == field


def test_the_workers_find_the_model_wherever_they_start(inputs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray starts them in folders of their own, where a relative path means another folder."""
    monkeypatch.chdir(inputs)
    run = resolved(inputs, model="model")
    assert (run.model_uri, run.model) == (str(inputs / "model"), inputs / "model")


def test_logs_without_a_training_question_are_refused(inputs: Path, tmp_path: Path) -> None:
    write_logs(table([row | {"split": "heldout"} for row in wrong("q0")]), tmp_path / "logs", GROUPS)
    with pytest.raises(DataError, match="has no training question"):
        resolved(inputs, logs=str(tmp_path / "logs"))


def evaluation(folder: Path, held_out: str) -> dict[str, str]:
    """A question set that holds one question out and trains another, and a group set."""
    questions = [
        {"question_id": held_out, "text": "?", "references": ["a"], "split": "heldout"},
        {"question_id": "q0", "text": "?", "references": ["a"], "split": "train"},
    ]
    (folder / "questions.json").write_text(json.dumps({"name": "few", "questions": questions}))
    (folder / "groups.json").write_text(
        json.dumps({"groups": [{"name": "neutral"}, {"name": "nurse", "persona": "A nurse."}]})
    )
    return {"questions": str(folder / "questions.json"), "groups": str(folder / "groups.json")}


def test_training_on_what_the_evaluation_holds_out_is_refused(inputs: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"1 of 3 training questions are held out by .*questions\.json: 'q1'\.") as held:
        resolved(inputs, evaluation=evaluation(tmp_path, "q1"))
    assert held.value.field == "logs"


def test_a_question_that_is_not_trained_may_be_held_out(inputs: Path, tmp_path: Path) -> None:
    game = resolved(inputs, evaluation=evaluation(tmp_path, "q9")).game
    assert game is not None
    assert [question.question_id for question in game.asked] == ["q9"]


def test_an_evaluation_whose_groups_ask_in_the_same_words_is_refused(inputs: Path, tmp_path: Path) -> None:
    (tmp_path / "twins.yaml").write_text("groups:\n  - name: neutral\n  - name: twin\n")
    twins = EVALUATION | {"groups": str(tmp_path / "twins.yaml")}
    with pytest.raises(DataError, match=r"field 'evaluation\.groups': .*'neutral' and 'twin' get the same prompt"):
        resolved(inputs, evaluation=twins)


def test_an_argument_that_the_chat_template_does_not_read_is_refused(inputs: Path) -> None:
    with pytest.raises(ModelError, match=r"field 'model': .*reads no argument 'enable_thinking'"):
        resolved(inputs, chat_template_kwargs={"enable_thinking": False})


def test_a_model_that_would_answer_the_evaluation_wrongly_is_refused(
    inputs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trialign_ray.trainer.guard.generation._JUDGED", {})
    monkeypatch.setattr("trialign_ray.trainer.guard.generation.TOLERANCE", -1)
    resolved(inputs)
    with pytest.raises(ModelError, match="field 'model': models of type 'llama' would get wrong responses"):
        resolved(inputs, evaluation=EVALUATION)
