"""The accelerator script at its smallest size on a CPU: what it compares is equal. Without TRL less its part."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

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
