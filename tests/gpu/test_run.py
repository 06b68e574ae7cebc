"""The accelerator script at its smallest size on a CPU: what it compares is equal. Without TRL less its part."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.gpu import run
from tests.gpu.equality import FEW
from tests.gpu.run import Setting, main, measured

ROOT = Path(__file__).resolve().parents[2]


def test_one_json_of_all_parts() -> None:
    command = [sys.executable, "-m", "tests.gpu.run", "--device", "cpu", "--tiny"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    found = json.loads(done.stdout[done.stdout.index("{\n") :])["parts"]
    assert found["families"]["found"].keys() == set(FEW)
    assert max(each["nats"] for each in found["families"]["found"].values()) < 2e-3
    assert max(each["gradient"] for each in found["families"]["found"].values()) < 2e-3
    zero = found["zero"]["found"]
    assert zero.pop("backend") == "gloo"
    assert len(zero) == 4
    assert max(each["largest_difference"] for each in zero.values()) < 1e-4
    assert all(each["response_tokens_per_second"] > 0 for each in found["speed"]["found"].values())
    assert "left_out" in found["trl"] or found["trl"]["found"]


@pytest.mark.parametrize(("module", "told"), [("trl", "left_out"), ("tests.gpu.nothing", "error")])
def test_only_what_a_part_may_lack_is_left_out(module: str, told: str) -> None:
    def part(_: Setting) -> None:
        raise ModuleNotFoundError(f"No module named '{module}'", name=module)

    assert measured(part, Setting(torch.device("cpu"), tiny=True)).keys() == {told, "seconds"}


@pytest.mark.parametrize("arguments", [["--parts", "nothing"], ["--device", "tpu"]])
def test_what_is_not_known_is_refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--device", "cpu", *arguments])
    assert caught.value.code == 2
    assert arguments[-1] in capsys.readouterr().err


LOADED = """
import ast, sys, tests.gpu.equality, tests.gpu.speed
from trialign_ray.trainer import engine, learner, memory, plain_engine, policy
ours = [each for name, each in list(sys.modules.items()) if name.startswith(("trialign_ray", "tests"))]
steps = [step for each in ours if each.__file__ for step in ast.parse(open(each.__file__).read()).body]
names = [a.name for s in steps if isinstance(s, ast.Import) for a in s.names]
names += [s.module for s in steps if isinstance(s, ast.ImportFrom)]
print(*{name.split(".")[0] for name in names} - sys.stdlib_module_names - {"trialign_ray", "tests"})
"""


def test_the_script_says_what_it_needs() -> None:
    done = subprocess.run([sys.executable, "-c", LOADED], cwd=ROOT, capture_output=True, text=True, check=True)
    told = set(re.findall(r"\w+", str(run.__doc__)))
    assert set(done.stdout.split()) - {"pydantic_core"} <= told, "a part of pydantic is not to be named"
