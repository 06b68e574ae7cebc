"""Pages name files that are there, and the diagram is that of the code."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest
import yaml

from docs.diagram import PAGE, current
from trialign_ray.config.algorithm import ALGORITHMS, PenaltyForm
from trialign_ray.config.game import GroupSet, QuestionSet
from trialign_ray.config.welfare import WELFARES
from trialign_ray.envs.prompts import first_turn
from trialign_ray.rewards.verifiers import AnswerReader

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    str(page.relative_to(ROOT))
    for pattern in ("README.md", "CONTRIBUTING.md", "demo/README.md", "docs/*.md", "docs/reference/*.md")
    for page in ROOT.glob(pattern)
)
MADE_BY_THE_READER = {"docker/.env"}
MADE_BY_THE_SITE = {"reference/rest.md", "reference/specifications.md", "specifications.md"}
_FOLDERS = "trialign_ray|api|tests|docs|docker|cluster|jobs|demo|bench"


def test_the_job_kind_of_the_page_on_extending_runs_as_written(tmp_path: Path):
    text = (ROOT / "docs/extending.md").read_text(encoding="utf-8")
    (module,) = (block for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "JobKind(" in block)
    (command,) = (block for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL) if "TRIALIGN_SPEC" in block)
    (tmp_path / "mypackage").mkdir()
    (tmp_path / "mypackage" / "jobs.py").write_text(module, encoding="utf-8")
    paths = os.pathsep.join([str(tmp_path), *sys.path])
    environment = os.environ | {"PYTHONPATH": paths, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(["sh", "-c", command], env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, "counted to 3" in done.stdout + done.stderr) == (0, True), done.stderr


def test_the_sets_of_the_page_on_questions_are_asked_and_read():
    text = (ROOT / "docs/questions.md").read_text(encoding="utf-8")
    first, second = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    questions, groups = (
        QuestionSet.model_validate(yaml.safe_load(first)),
        GroupSet.model_validate(yaml.safe_load(second)),
    )
    verifiers = {question.verifier for question in questions.questions if question.kind == "objective"}
    assert verifiers == {"vocabulary", "number", "open", "choice", "math"}
    assert {question.split for question in questions.questions} == {"train", "heldout"}
    reader = AnswerReader(questions)
    for question in questions.questions:
        prompts = [first_turn(groups, group, question) for group in groups.groups]
        assert len(set(map(str, prompts))) == len(groups.groups)
        for reference in question.references:
            assert reader.truth(question, reader.read(question, reference)) == 1
    said = {"capital-peru": "Cusco", "boiling": "one hundred", "derivative": "3+2x", "longest": "B"}
    read = {name: reader.read(questions.by_id[name], response) for name, response in said.items()}
    assert read["capital-peru"].value == "Cusco"
    assert {name: reader.truth(questions.by_id[name], answer) for name, answer in read.items()} == {
        **{"capital-peru": 0, "boiling": 1, "derivative": 1, "longest": 1}
    }


def test_the_page_on_algorithms_has_a_row_for_each_and_for_every_welfare_and_penalty():
    text = (ROOT / "docs/algorithms.md").read_text(encoding="utf-8")
    rows = set(re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE))
    headings = {"name", "candidates"}
    assert rows - headings == {*ALGORITHMS, *WELFARES, *get_args(PenaltyForm)}


def test_the_diagram_is_that_of_the_code():
    page = PAGE.read_text(encoding="utf-8")
    assert page == current(page), "Run `make diagram`."


@pytest.mark.parametrize("page", PAGES)
def test_files_that_a_page_names_are_there(page: str):
    text = (ROOT / page).read_text(encoding="utf-8")
    named = set(re.findall(rf"`((?:{_FOLDERS})/[\w./-]*)`", text))
    named |= {f"trialign_ray/{path}" for path in re.findall(r"`(\w+/[\w/]+\.py)`", text) if not (ROOT / path).exists()}
    linked = set(re.findall(r"\]\((?!https?:)([^)#]+)", text))
    missing = {name for name in named if not (ROOT / name).exists()}
    missing |= {link for link in linked if not (ROOT / page).parent.joinpath(link).exists()}
    assert missing - MADE_BY_THE_READER - MADE_BY_THE_SITE == set()
