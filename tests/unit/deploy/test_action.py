"""The composite action runs the audit, keeps its gates, writes the summary, and runs none of its inputs as code."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.world import CAPITALS, World

ROOT = Path(__file__).parents[3]
FILE = ROOT / ".github" / "actions" / "audit" / "action.yml"
ACTION: dict[str, Any] = yaml.safe_load(FILE.read_text(encoding="utf-8"))
STEPS = ACTION["runs"]["steps"]
BIN = Path(sys.executable).parent
HEADS = ("neutral", "farmer", "professor")


def run_step(step: dict[str, Any], folder: Path, **inputs: str) -> subprocess.CompletedProcess[str]:
    """What GitHub does with a step of a composite action: its inputs are the environment of its script."""
    given = {name: value.get("default", "") for name, value in ACTION["inputs"].items()} | inputs
    env = {name: re.sub(r"\$\{\{ inputs\.([\w-]+) \}\}", lambda found: given[found[1]], text)
           for name, text in step["env"].items()}  # fmt: skip
    files = {name: str(folder / name.lower()) for name in ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY")}
    usual = {"PATH": f"{BIN}:{os.environ['PATH']}", "HOME": str(folder), "GITHUB_ACTION_PATH": str(FILE.parent)}
    command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]]
    return subprocess.run(
        command, cwd=folder, env=usual | files | env, capture_output=True, text=True, timeout=300, check=False
    )


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The professor is told another city than the others about all but one country."""
    rows = [
        {"question_id": f"{at}-{country}", "group": group, "response": "cairo" if group == "professor" else city}
        for at, (country, city) in enumerate(CAPITALS.items())
        for group in HEADS
    ]
    file = tmp_path_factory.mktemp("answers") / "answers.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def audited(world: World, folder: Path, answers: Path, **inputs: str) -> subprocess.CompletedProcess[str]:
    given = {"questions": world.questions, "groups": world.groups, "answers": str(answers)}
    return run_step(STEPS[1], folder, **given, **{name.replace("_", "-"): value for name, value in inputs.items()})


def test_the_action_has_the_form_that_github_reads() -> None:
    command = [str(BIN / "check-jsonschema"), "--builtin-schema", "vendor.github-actions", str(FILE)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout


def test_every_input_is_declared_used_and_reaches_the_shell_as_an_environment_variable_only() -> None:
    assert all("${{" not in step["run"] for step in STEPS)
    used = {name for step in STEPS for text in step["env"].values() for name in re.findall(r"inputs\.([\w-]+)", text)}
    assert used == set(ACTION["inputs"])


def test_a_gate_that_holds_fails_the_step_and_the_summary_says_which(
    world: World, tmp_path: Path, answers: Path
) -> None:
    arguments = "--split\ntrain\n--bootstrap\n100\n"
    done = audited(world, tmp_path, answers, fail_if="gap.low>0.9,contradiction>0.3", arguments=arguments)
    assert done.returncode == 8, done.stderr
    summary = (tmp_path / "github_step_summary").read_text()
    assert "| contradiction>0.3 | ❌ fails |" in summary
    assert "| gap.low>0.9 | ✅ passes |" in summary
    assert "| professor | 25.0 % | 100.0 % | 25.0 % |" in summary
    assert (tmp_path / "github_output").read_text() == "report=runs/audit/report.json\n"
    assert json.loads((tmp_path / "runs" / "audit" / "report.json").read_text())["audit"]["worst_group"] == "professor"


def test_no_input_is_run_as_code(world: World, tmp_path: Path, answers: Path) -> None:
    evil = f"$(touch {tmp_path}/run) `touch {tmp_path}/run`; touch {tmp_path}/run"
    done = audited(world, tmp_path, answers, fail_if=evil, model=evil, arguments=f"--name\n{evil}\n")
    assert done.returncode == 2
    assert not (tmp_path / "run").exists()


def test_what_is_installed_is_this_action_s_own_version_unless_another_is_named(tmp_path: Path) -> None:
    (tmp_path / "python").write_text('#!/bin/sh\necho "$@"\n')
    (tmp_path / "python").chmod(0o755)
    step = STEPS[0] | {"run": f"PATH={tmp_path}:$PATH\n{STEPS[0]['run']}"}
    own = run_step(step, tmp_path).stdout.split()[-1]
    assert own.endswith("[report]")
    assert Path(own.removesuffix("[report]")).resolve() == ROOT
    assert run_step(step, tmp_path, install="trialign-ray[report]==0.2.0").stdout.endswith("==0.2.0\n")
