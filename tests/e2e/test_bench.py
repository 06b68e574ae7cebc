"""The published question sets, out of the wheels that really ship them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from trialign_ray.bench import sets
from trialign_ray.bench.loaded import SOURCES
from trialign_ray.rewards.verifiers import AnswerReader

pytestmark = pytest.mark.e2e

QUESTIONS = {
    "openbookqa": 499,
    "commonsenseqa": 1196,
    "truthfulqa": 340,
    "mmlu": 2763,
    "bbq": 1012,
    "stereoset": 4226,
    "aime2025": 30,
    "gsm8k": 1319,
}


def test_every_published_set_is_tested_here():
    assert QUESTIONS.keys() == SOURCES.keys()


LARGE = ("mmlu", "stereoset")


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.long) if name in LARGE else name for name in QUESTIONS]
)
def test_a_published_set_is_read_whole_held_out_and_can_be_answered(name):
    made = sets.make(name)
    assert len(made.split("heldout")) == len(made.questions) == QUESTIONS[name]
    reader = AnswerReader(made)
    read = Counter(reader.truth(q, reader.read(q, q.references[0])) for q in made.questions)
    assert read[1.0] == QUESTIONS[name]


def test_the_command_writes_a_set_once(tmp_path: Path):
    command = [str(Path(sys.executable).with_name("trialign")), "bench", "make", "aime2025", "--output", "a.json"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.stdout == "a.json: 0 questions to train on, 30 held out\n", done.stderr
    assert len(json.loads((tmp_path / "a.json").read_text())["questions"]) == 30
    again = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert (again.returncode, "exists already" in again.stderr) == (2, True)
