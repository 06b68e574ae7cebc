"""Dry runs of real specifications: what the job will do, and what is wrong with its inputs."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import yaml

from tests.unit.api.fake import Plane
from tests.unit.api.test_metrics_copy import bytes_read
from tests.unit.data.samples import row
from trialign_api.services import plan
from trialign_ray.config.train import TrainSpec
from trialign_ray.data.dataset import write_logs
from trialign_ray.data.schema import SCHEMA
from trialign_ray.data.writer import Longest
from trialign_ray.entrypoints.plan import assumed_step, plan_for
from trialign_ray.trainer.guard.verdict import config_of

pytestmark = pytest.mark.anyio
GROUPS = ("neutral", "kenya")


@pytest.fixture
def inputs(control: Plane) -> Path:
    """A workspace with logs of 6 training questions, a model's folder, questions and groups."""
    work = Path(control.settings.workspace)
    rows = [row(question_id=f"q{number}", group=group) for number in range(6) for group in GROUPS]
    rows += [row(question_id="held", group=group, split="heldout") for group in GROUPS]
    rows.append(row(question_id="lonely", group="neutral"))
    write_logs(pa.Table.from_pylist(rows, schema=SCHEMA), work / "logs", GROUPS)
    (work / "model").mkdir()
    shape = {"hidden_size": 32, "num_hidden_layers": 2, "dtype": "bfloat16", "model_type": "llama"}
    shape |= {"num_attention_heads": 4, "num_key_value_heads": 2}
    (work / "model" / "config.json").write_text(json.dumps(shape))
    (work / "model" / "model.safetensors").write_bytes(b"x" * 1000)
    questions = [{"question_id": f"q{n}", "text": "?", "references": ["a"], "split": "heldout"} for n in range(3)]
    (work / "questions.json").write_text(json.dumps({"name": "few", "questions": questions}))
    groups = {"groups": [{"name": "neutral"}, {"name": "kenya", "persona": "Lives in Kenya."}]}
    (work / "groups.yaml").write_text(yaml.safe_dump(groups))
    return work


async def validate(control: Plane, **spec: Any) -> Any:
    ada = await control.key("ada", "submit")
    return await control.client.post("/v1/jobs:validate", json={"spec": {"name": "x", **spec}}, headers=ada)


TRAIN = {"kind": "train", "model": "model", "logs": "logs", "questions_per_step": 2, "epochs": 2.0}
AUDIT = {"kind": "audit", "model": "model", "questions": "questions.json", "groups": "groups.yaml"}


async def test_the_plan_of_a_training_run_counts_questions_that_any_group_was_asked(
    control: Plane, inputs: Path
) -> None:
    plan = (await validate(control, **TRAIN)).json()["plan"]
    longest = Longest(*(plan["data"].pop(f"longest_{what}") for what in ("tokens", "prompt", "response")))
    assert plan["data"] == {"rows": 15, "groups": ["neutral", "kenya"], "training_questions": 7}
    assert (plan["derived"]["steps"], plan["derived"]["prompts_per_step"]) == (7, 4)
    spec = TrainSpec.model_validate({**TRAIN, "name": "x", "model": str(inputs / "model")})
    made = plan_for(config_of(inputs / "model"), spec, assumed_step(spec, 2, longest.prompt, longest.response), None)
    unknown = dict.fromkeys(("tokens_per_step", "passes", "tokens_per_pass", "available", "fits", "advice"))
    assert plan["memory"] == asdict(made) | {"total": made.total} | unknown
    assert any("no truth report" in warning for warning in plan["warnings"])


async def test_the_plan_of_an_audit_and_of_a_collection_counts_prompts(control: Plane, inputs: Path) -> None:
    audit = (await validate(control, **AUDIT, samples=4)).json()["plan"]
    collect = (
        await validate(control, **{**AUDIT, "kind": "collect", "split": "all", "samples": 2, "output": "new"})
    ).json()["plan"]
    assert audit["derived"] == {"prompts": 6, "responses": 24}
    assert collect["derived"] == {"prompts": 6, "responses": 12}


@pytest.mark.parametrize("text", ["no JSON", "[]", '{"hidden_size": "wide"}'])
async def test_a_config_that_is_none_is_a_bad_model(control: Plane, inputs: Path, text: str) -> None:
    (inputs / "model" / "config.json").write_text(text)
    answer = await validate(control, **TRAIN)
    assert (answer.status_code, answer.json()["code"]) == (422, "bad_model")


@pytest.mark.parametrize(
    ("spec", "code", "word", "field"),
    [
        ({**TRAIN, "logs": "nowhere"}, "bad_data", "nowhere", "logs"),
        ({**TRAIN, "model": "logs"}, "bad_model", "config.json", "model"),
        ({**TRAIN, "questions_per_step": 50}, "bad_spec", "training questions", "questions_per_step"),
        ({**AUDIT, "questions": "groups.yaml"}, "bad_spec", "name", "questions"),
        ({**AUDIT, "groups": "questions.json"}, "bad_spec", "is required", "groups"),
        ({**AUDIT, "split": "train"}, "bad_data", "split", "questions"),
        ({**AUDIT, "fail_if": ["gapp>0.05"]}, "bad_spec", "gapp", "fail_if"),
        ({**AUDIT, "fail_if": ["contradiction_excess>0.05"]}, "bad_spec", "one response", "fail_if"),
    ],
)
async def test_bad_inputs_are_named(
    control: Plane, inputs: Path, spec: dict[str, Any], code: str, word: str, field: str
) -> None:
    answer = await validate(control, **spec)
    assert (answer.status_code, answer.json()["code"]) == (422, code)
    assert answer.json()["detail"].startswith(f"field '{field}': ")
    assert word in answer.json()["detail"]
    assert [fault["pointer"] for fault in answer.json()["errors"]] == [f"/body/spec/{field}"]


async def test_a_plan_that_trains_on_what_its_evaluation_holds_out_is_refused(control: Plane, inputs: Path) -> None:
    evaluation = {"questions": "questions.json", "groups": "groups.yaml"}
    answer = await validate(control, **TRAIN, evaluation=evaluation)
    assert (answer.status_code, answer.json()["code"]) == (422, "bad_data")
    assert "3 of 7 training questions are held out by" in answer.json()["detail"]
    assert [fault["pointer"] for fault in answer.json()["errors"]] == ["/body/spec/logs"]


def bytes_to_plan(work: Path, tokens: int) -> int:
    """Bytes that are read to plan a training run on logs of so many random tokens a prompt."""
    drawn = random.Random(0)
    rows = [
        row(question_id=f"q{number}", group=group, prompt_ids=[drawn.getrandbits(31) for _ in range(tokens)])
        for number in range(40)
        for group in GROUPS
    ]
    write_logs(pa.Table.from_pylist(rows, schema=SCHEMA), work / f"logs-{tokens}", GROUPS)
    spec = TrainSpec.model_validate(
        {**TRAIN, "name": "x", "model": str(work / "model"), "logs": str(work / f"logs-{tokens}")}
    )
    before = bytes_read()
    found = plan.train(spec)
    assert (found.data["training_questions"], found.data["rows"]) == (40, 80)
    return bytes_read() - before


@pytest.mark.skipif(not Path("/proc/self/io").exists(), reason="counts the bytes that Linux counts")
async def test_tokens_are_not_read_to_plan_a_run(control: Plane, inputs: Path) -> None:
    """The logs are many gigabytes of them, and the process serves everybody."""
    few, many = bytes_to_plan(inputs, 10), bytes_to_plan(inputs, 10_000)
    size = sum(file.stat().st_size for file in (inputs / "logs-10000").rglob("*.parquet"))
    assert size > 3_000_000
    assert many - few < size / 20


def test_a_plan_is_made_without_what_measures_answers() -> None:
    """The service imports it; statistics and plots are for jobs."""
    program = (
        "import sys, trialign_api.services.plan; "
        "print(*{'scipy', 'matplotlib', 'torch', 'ray', 'transformers'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


async def test_a_model_whose_layers_cannot_branch_is_said_to_be_slower_or_refused(control: Plane, inputs: Path) -> None:
    sizes = {"hidden_size": 64, "intermediate_size": 96, "num_attention_heads": 4, "num_key_value_heads": 2}
    shape = {"model_type": "lfm2", "layer_types": ["conv", "full_attention"], "num_hidden_layers": 2, **sizes}
    (inputs / "model" / "config.json").write_text(json.dumps(shape))
    plan = (await validate(control, **TRAIN)).json()["plan"]
    assert "one response a row: log-probs differ by" in plan["warnings"][-1]
    answer = await validate(control, **TRAIN, learner={"attention": {"name": "matmul"}})
    assert answer.status_code == 422
    assert answer.json()["code"] == "bad_model"
    assert "carry a state" in answer.text


async def test_a_type_that_is_not_known_is_refused(control: Plane, inputs: Path) -> None:
    (inputs / "model" / "config.json").write_text(json.dumps({"model_type": "nobodys", "hidden_size": 8}))
    answer = await validate(control, **TRAIN)
    assert answer.json()["code"] == "bad_model"
    assert "model_type 'nobodys'" in answer.text
