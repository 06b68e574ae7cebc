"""The lm-evaluation-harness itself runs the task on a tiny model and shows the figures of an audit of its samples."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Literal

import pytest

from tests.world import World
from trialign_ray.config.game import Question, QuestionSet, Split, asked_questions
from trialign_ray.config.tasks import AuditSpec
from trialign_ray.entrypoints.audit import audit
from trialign_ray.errors import DataError, SpecError
from trialign_ray.integrations import game
from trialign_ray.integrations.lm_eval import functions
from trialign_ray.integrations.lm_eval.functions import METRICS, accuracy_mean, dataset, gap, process_results

MAP = {"question_id": "doc.question_id", "group": "doc.group", "response": "resps.0.0"}
pytestmark = [pytest.mark.integration, pytest.mark.long]


@pytest.fixture(autouse=True)
def _read_anew() -> None:
    functions._game.cache_clear()


@pytest.fixture(scope="module")
def run(world: World, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, float], list[dict[str, Any]]]:
    """Results by metric, and the logged samples."""
    out, commands = tmp_path_factory.mktemp("lm_eval"), Path(sys.executable).parent
    folder = subprocess.check_output([sys.executable, "-m", "trialign_ray.integrations.lm_eval"], text=True).strip()
    done = subprocess.run(
        [
            *(commands / "lm_eval", "run", "--include_path", folder, "--tasks", "truth_invariance", "--device", "cpu"),
            *("--model", "hf", "--model_args", f"pretrained={world.model},max_length=256", "--apply_chat_template"),
            *("--gen_kwargs", "max_gen_toks=8", "--log_samples", "--output_path", str(out)),
            *("--metadata", json.dumps({"questions": world.questions, "groups": world.groups})),
        ],
        env={**os.environ, "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (results,), (samples,) = out.rglob("results_*.json"), out.rglob("samples_*.jsonl")
    found = json.loads(results.read_text())["results"]["truth_invariance"]
    return {name: found[f"{name},none"] for name in METRICS}, [json.loads(line) for line in samples.open()]


def test_the_harness_shows_the_figures_of_an_audit(
    world: World, run: tuple[dict[str, float], list[dict[str, Any]]], tmp_path: Path
):
    shown, samples = run
    with (tmp_path / "answers.jsonl").open("w") as file:
        for sample in samples:
            file.write(json.dumps(sample) + "\n")
    fields = {"questions": world.questions, "groups": world.groups, "runs": str(tmp_path), "bootstrap": 100}
    fields |= {"map": MAP, "ignore": sorted(samples[0].keys() - {"doc", "resps"})}
    spec = AuditSpec.model_validate({"name": "same", "answers": str(tmp_path / "answers.jsonl"), **fields})
    found = audit(spec).audit.flat()
    assert len(samples) == 2 * 3
    for name, value in shown.items():
        figure = found[name]
        assert math.isnan(value) if figure is None else value == pytest.approx(figure.value)


def test_a_system_message_and_a_question_are_sent(world: World, run: tuple[dict[str, float], list[dict[str, Any]]]):
    prompts = [sample["arguments"]["gen_args_0"]["arg_0"] for sample in run[1]]
    assert any("the user is a farmer ." in prompt for prompt in prompts)
    assert all("what is the capital" in prompt for prompt in prompts)


@pytest.mark.parametrize("split", ["heldout", "train"])
def test_a_part_of_the_responses_gives_no_figure_and_one_warning(
    world: World, split: str, caplog: pytest.LogCaptureFixture
):
    docs = dataset(questions=world.questions, groups=world.groups, split=split)["test"].to_list()
    responses = [process_results(doc, ["hey"])["gap"] for doc in docs]
    assert gap(responses) == 0
    assert caplog.messages == []
    assert math.isnan(gap(responses[1:]))
    assert math.isnan(accuracy_mean(responses[1:]))
    (said,) = caplog.messages
    assert f"{len(docs) - 1} of {len(docs)} responses are here" in said


def test_a_split_of_questions_that_another_refuses_is_asked(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Figures are those of the split that was asked, whatever the others hold."""
    asked: list[str] = []

    def noted(questions: QuestionSet, split: Split | Literal["all"], where: str) -> tuple[Question, ...]:
        asked.append(split)
        return asked_questions(questions, split, where)

    monkeypatch.setattr(game, "asked_questions", noted)
    docs = dataset(questions=world.questions, groups=world.groups, split="train")["test"].to_list()
    accuracy_mean([process_results(doc, ["hello"])["gap"] for doc in docs])
    assert asked == ["train"]


def test_both_files_are_needed(world: World):
    with pytest.raises(SpecError, match="--metadata"):
        dataset(questions=world.questions)


def test_a_group_that_is_known_by_a_dialogue_is_refused(world: World, monkeypatch: pytest.MonkeyPatch):
    longer = [{"role": role, "content": "hey"} for role in ("system", "user", "assistant", "user")]
    monkeypatch.setattr(
        "trialign_ray.envs.prompts.first_turn",
        lambda groups, group, question: [*longer[:-1], {"role": "user", "content": group.name}],
    )
    with pytest.raises(DataError, match="more than a system message"):
        dataset(questions=world.questions, groups=world.groups, split="train")
