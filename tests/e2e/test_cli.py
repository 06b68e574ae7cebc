"""The commands as a user types them: what they print, what they write and how they exit."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from trialign_ray.errors import DataError, GateError, SpecError

Row = dict[str, Any]

pytestmark = pytest.mark.e2e

TRIALIGN = Path(sys.executable).with_name("trialign")
CAPITALS = {"peru": "Lima", "kenya": "Nairobi", "japan": "Tokyo", "france": "Paris"}
GROUPS = ("neutral", "nurse", "pupil")
GROUP_SET = "groups:\n  - {name: neutral}\n  - {name: nurse, persona: A nurse.}\n  - {name: pupil, persona: A pupil.}\n"
TEMPLATE = "{% for m in messages %}{{ m['role'] }} {{ m['content'] }} <eos> {% endfor %}assistant "


def trialign(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command in `folder`, with a cache of its own."""
    inherited = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    known = {**inherited, "OMP_NUM_THREADS": "1", "TRIALIGN_CACHE": str(folder / "cache"), **environment}
    return subprocess.run([TRIALIGN, *arguments], cwd=folder, env=known, capture_output=True, text=True, timeout=120)


def full_row(place: str, group: str, answer: str) -> Row:
    """A row that lacks nothing."""
    return {
        **chat_row(place, group, answer),
        **{"protocol": "independent", "turn": 1, "sample": 0, "split": "heldout", "topic": "capitals", "seed": 0},
        **{"prompt_ids": [1, 2], "response_ids": [3, 4], "behaviour_logprobs": None, "answer": answer},
        **{"answer_kind": "entity", "references": [CAPITALS[place]], "kind": "objective", "peers": []},
        **{"reward_truth": float(answer == CAPITALS[place]), "reward_preference": None, "preference": None},
        **{"preference_cue": None, "source": "atlas", "model_hash": "ab12"},
    }


def chat_row(place: str, group: str, answer: str) -> Row:
    """A row as a chat log gives it, without tokens, answers and rewards."""
    question = f"What is the capital of {place}?"
    messages = [{"role": "user", "content": question}]
    return {"question_id": place, "question": question, "group": group, "messages": messages, "response": answer}


def rows(make: Callable[[str, str, str], Row] = full_row) -> list[Row]:
    """The pupil is told a wrong capital of half of the countries, everybody else the right ones."""
    wrong = {("pupil", "peru"): "Quito", ("pupil", "kenya"): "Kampala"}
    return [make(place, group, wrong.get((group, place), CAPITALS[place])) for place in CAPITALS for group in GROUPS]


def write_lines(path: Path, values: list[Row]) -> Path:
    path.write_text("".join(json.dumps(value) + "\n" for value in values))
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Question and group sets, and good logs."""
    questions = [
        {"question_id": place, "text": f"What is the capital of {place}?", "references": [city], "split": "heldout"}
        for place, city in CAPITALS.items()
    ]
    (tmp_path / "questions.json").write_text(json.dumps({"name": "capitals", "questions": questions}))
    (tmp_path / "groups.yaml").write_text(GROUP_SET)
    write_lines(tmp_path / "logs.jsonl", rows())
    return tmp_path


@pytest.fixture
def tokenizer(tmp_path: Path) -> Path:
    """A folder with a tokenizer and no weights."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(models.WordLevel({"<unk>": 0, "<eos>": 1, "user": 2, "assistant": 3}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    made: Any = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=words, eos_token="<eos>", unk_token="<unk>"
    )
    made.chat_template = TEMPLATE
    made.save_pretrained(tmp_path / "model")
    (tmp_path / "model" / "config.json").write_text('{"model_type": "llama"}')
    return tmp_path / "model"


def test_import_validate_and_show_agree_on_the_logs(folder: Path) -> None:
    imported = trialign(folder, "logs", "import", "logs.jsonl", "--output", "logs", "--groups", "groups.yaml")
    assert (imported.returncode, imported.stderr) == (0, "")
    assert "12 of 12 rows imported" in imported.stdout
    validated = trialign(folder, "logs", "validate", "logs")
    never = "12 rows can never train: 12 of held-out questions\n"
    assert (validated.returncode, validated.stdout) == (0, f"12 rows, 0 bad\n{never}")
    shown = trialign(folder, "logs", "show", "logs")
    assert "12 rows, 4 questions" in shown.stdout
    accuracies = {line.split()[1]: line for line in shown.stdout.splitlines() if line.startswith("│")}
    assert " 1.000 " in accuracies["nurse"]
    assert " 0.500 " in accuracies["pupil"]


def test_show_puts_the_groups_answers_side_by_side(folder: Path) -> None:
    trialign(folder, "logs", "import", "logs.jsonl", "--output", "logs")
    shown = trialign(folder, "logs", "show", "logs", "--question", "peru")
    assert shown.stdout.count("Lima") >= 2
    assert "Quito" in shown.stdout
    unknown = trialign(folder, "logs", "show", "logs", "--question", "perus")
    assert unknown.returncode == DataError.exit_status
    assert "peru" in unknown.stderr


def test_a_bad_row_is_set_aside_with_its_reason(folder: Path) -> None:
    write_lines(folder / "logs.jsonl", [*rows(), full_row("peru", "neutral", "Lima") | {"sample": -1}])
    imported = trialign(folder, "logs", "import", "logs.jsonl", "--output", "logs")
    assert imported.returncode == 0
    assert "12 of 13 rows imported" in imported.stdout
    assert "1 rows rejected, see logs.rejects.jsonl" in imported.stdout
    rejected = json.loads((folder / "logs.rejects.jsonl").read_text())
    assert (rejected["row"], rejected["field"]) == (13, "sample")


def test_strict_refuses_and_writes_nothing(folder: Path) -> None:
    write_lines(folder / "logs.jsonl", [*rows(), full_row("peru", "neutral", "Lima") | {"sample": -1}])
    refused = trialign(folder, "logs", "import", "logs.jsonl", "--output", "logs", "--strict")
    assert (refused.returncode, refused.stdout) == (DataError.exit_status, "")
    assert "logs.jsonl:13: field 'sample'" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert not (folder / "logs").exists()


def test_validate_of_a_file_says_what_import_would_reject(folder: Path) -> None:
    write_lines(folder / "logs.jsonl", [*rows(), full_row("peru", "stranger", "Lima")])
    found = trialign(folder, "logs", "validate", "logs.jsonl", "--groups", "groups.yaml")
    assert found.returncode == DataError.exit_status
    assert "13 rows, 1 bad" in found.stdout
    assert "logs.jsonl:13: field 'group'" in found.stderr


def test_validate_finds_a_dataset_whose_bytes_changed(folder: Path) -> None:
    trialign(folder, "logs", "import", "logs.jsonl", "--output", "logs")
    part = next((folder / "logs" / "group=pupil").glob("*.parquet"))
    part.write_bytes(part.read_bytes() + b"\0")
    found = trialign(folder, "logs", "validate", "logs")
    assert found.returncode == DataError.exit_status
    assert "sha256" in found.stderr


def test_a_chat_log_is_completed_from_a_tokenizer_and_a_question_set(folder: Path, tokenizer: Path) -> None:
    lines = [row | {"kind": "objective", "references": [CAPITALS[row["question_id"]]]} for row in rows(chat_row)]
    write_lines(folder / "chat.jsonl", [line | {"mood": "good"} for line in lines])
    completed = ("--model", str(tokenizer), "--questions", "questions.json", "--ignore", "mood")
    imported = trialign(folder, "logs", "import", "chat.jsonl", "--output", "logs", *completed)
    assert imported.returncode == 0, imported.stderr
    assert "12 of 12 rows imported" in imported.stdout
    assert "ignored field 'mood' of 12 rows" in imported.stdout
    assert trialign(folder, "logs", "show", "logs").stdout.count(" 0.500 ") == 1


def test_an_unknown_field_is_named_with_what_to_do(folder: Path) -> None:
    write_lines(folder / "odd.jsonl", [row | {"mood": "good"} for row in rows()])
    refused = trialign(folder, "logs", "import", "odd.jsonl", "--output", "logs")
    assert refused.returncode == DataError.exit_status
    assert "field 'mood'" in refused.stderr


def audit(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    given = ("--answers", "logs.jsonl", "--questions", "questions.json", "--groups", "groups.yaml")
    return trialign(folder, "audit", *given, "--name", "a", "--bootstrap", "100", *arguments)


def test_a_gate_that_fails_fails_the_audit_after_its_report(folder: Path) -> None:
    failed = audit(folder, "--fail-if", "gap>0.05", "--fail-if", "accuracy_by_group.nurse<0.9")
    assert failed.returncode == GateError.exit_status, failed.stderr
    assert "1 of 2 gates failed" in failed.stderr
    assert "gap>0.05 (measured 0.5" in failed.stderr
    assert "pupil" in failed.stdout
    report = json.loads((folder / "runs" / "a" / "report.json").read_text())
    assert report["audit"]["gap"]["value"] == 0.5
    assert (folder / "runs" / "a" / "report.html").is_file()


def test_answers_of_any_assistant_are_audited_from_question_group_and_response_alone(folder: Path) -> None:
    kept = ("question_id", "group", "response")
    write_lines(folder / "logs.jsonl", [{name: row[name] for name in kept} for row in rows()])
    passed = audit(folder, "--fail-if", "gap>0.6", "--out", "elsewhere")
    assert passed.returncode == 0, passed.stderr
    assert "elsewhere/a/report.html" in passed.stdout
    report = json.loads((folder / "elsewhere" / "a" / "report.json").read_text())
    assert report["audit"]["gap"]["value"] == 0.5


def test_an_earlier_report_is_replaced_only_on_request(folder: Path) -> None:
    assert audit(folder).returncode == 0
    report = folder / "runs" / "a" / "report.json"
    first = report.read_text()
    refused = audit(folder, "--seed", "1")
    assert refused.returncode == DataError.exit_status
    assert "runs/a: holds the report of an earlier audit" in refused.stderr
    assert report.read_text() == first
    assert audit(folder, "--seed", "1", "--overwrite").returncode == 0
    assert json.loads(report.read_text())["run"]["seed"] == 1


def test_answers_to_questions_of_another_split_are_left_out_and_counted(folder: Path) -> None:
    known = json.loads((folder / "questions.json").read_text())
    known["questions"][0]["split"] = "train"
    (folder / "questions.json").write_text(json.dumps(known))
    done = audit(folder)
    assert done.returncode == 0, done.stderr
    assert "3 rows left out: their questions are not of split 'heldout'" in done.stderr
    assert json.loads((folder / "runs" / "a" / "report.json").read_text())["audit"]["questions"] == 3


def test_an_audit_does_not_replace_the_report_of_a_training_run(folder: Path) -> None:
    run = folder / "runs" / "a"
    run.mkdir(parents=True)
    (run / "spec.json").write_text("{}")
    refused = audit(folder)
    assert refused.returncode == DataError.exit_status
    assert "runs/a: holds a training run" in refused.stderr
    assert [path.name for path in run.iterdir()] == ["spec.json"]


def test_a_gate_that_cannot_be_read_is_refused_before_the_audit(folder: Path) -> None:
    refused = audit(folder, "--fail-if", "fairness>1")
    assert refused.returncode == SpecError.exit_status
    assert "fairness" in refused.stderr
    assert not (folder / "runs").exists()


def test_a_model_and_answers_at_once_are_refused(folder: Path) -> None:
    refused = audit(folder, "--model", "model")
    assert refused.returncode == SpecError.exit_status
    assert "'model', 'answers' or 'endpoint', one of the three" in refused.stderr


def test_train_names_the_wrong_field_of_a_specification(folder: Path) -> None:
    (folder / "train.yaml").write_text("name: demo\nmodel: model\nlogs: logs\nepoch: 3\n")
    refused = trialign(folder, "train", "train.yaml", "--set", "learner.workers=0")
    assert refused.returncode == SpecError.exit_status
    assert "train.yaml: field 'epoch': is not a field here" in refused.stderr
    assert "field 'learner.workers'" in refused.stderr


def test_the_job_that_a_ray_cluster_runs_is_the_command(folder: Path) -> None:
    script = Path(__file__).parents[2] / "jobs" / "train.py"
    (folder / "train.yaml").write_text("name: Demo\n")
    done = subprocess.run([sys.executable, script, "train.yaml"], cwd=folder, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (2, trialign(folder, "train", "train.yaml").stderr)


def test_schema_describes_every_kind_of_job(folder: Path) -> None:
    schema = json.loads(trialign(folder, "schema").stdout)
    assert set(schema["discriminator"]["mapping"]) == {"train", "audit", "collect"}
    assert schema["$defs"]["TrainSpec"]["properties"]["questions_per_step"]["description"]


def test_doctor_finds_what_is_there_and_fails_on_what_is_missing(folder: Path) -> None:
    done = trialign(folder, "doctor", "--json", RAY_ADDRESS="127.0.0.1:1")
    said = json.loads(done.stdout)
    found = {check["name"]: check for check in said["checks"]}
    assert (done.returncode, said["ready"]) == (1, False)
    assert (found["Ray"]["status"], found["ZeRO"]["status"]) == ("ok", "ok")
    assert found["Ray cluster"]["status"] == "missing"
    assert "trialign model" in found["demo model"]["fix"]


def test_model_prints_the_folder_of_a_whole_copy_and_nothing_else(folder: Path) -> None:
    copy = folder / "cache" / "models" / "smollm2-135m-instruct"
    copy.mkdir(parents=True)
    (copy / "model.safetensors").write_bytes(b"weights")
    files = {"model.safetensors": hashlib.sha256(b"weights").hexdigest()}
    (copy / "converted.json").write_text(json.dumps({"files": files}))
    done = trialign(folder, "model")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{copy}\n", "")
