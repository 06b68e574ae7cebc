"""`trialign logs preview`: what it prints, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from trialign_ray.cli.logs import app
from trialign_ray.errors import DataError, SpecError

ROWS = [
    {"instruction": "Which river flows through Cairo?", "output": "The Nile.", "references": ["Nile"], "qid": "cairo"},
    {"instruction": 7, "output": "The Nile.", "references": ["Nile"], "qid": "cairo"},
]


@pytest.fixture
def file(tmp_path: Path) -> str:
    (tmp_path / "rows.json").write_text(json.dumps(ROWS))
    return str(tmp_path / "rows.json")


def preview(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["preview", *arguments])


PATHS = ("question_id=qid", "group==neutral", "answer_kind==unextracted", "label==1")
MAPPED = [word for path in PATHS for word in ("--map", path)]


def test_it_names_the_shape_counts_faults_and_shows_rows(file: str, tmp_path: Path) -> None:
    told = preview(file, *MAPPED, "--rows", "1").stdout
    assert "2 rows read; as rows of one response 2, of which 1 are bad" in told
    assert "recognised: alpaca (instructions of Alpaca) in 2 rows: it has 'instruction' and 'output'" in told
    assert "1  instruction: type" in told
    assert f"{file}:2: field 'instruction' is a int; expected text." in told
    assert f"{file}:1 would be stored as" in told
    assert [each.name for each in tmp_path.iterdir()] == ["rows.json"]


def test_as_json_it_says_the_same_to_programs(file: str) -> None:
    told = json.loads(preview(file, *MAPPED, "--json", "--most", "1").stdout)
    assert (told["read"], told["whole"], told["found"]["bad_rows"]) == (1, False, 0)
    assert [shape["name"] for shape in told["shapes"]] == ["alpaca"]
    assert told["stored"][0]["fields"]["group"] == "neutral"


@pytest.mark.parametrize(
    "arguments",
    [
        ["--map", "mood==good"],
        ["--map", "turn==one"],
        ["--map", "group"],
        ["--template", "a=b"],
        ["--questions", "none.yaml"],
    ],
)
def test_what_it_cannot_use_is_refused(file: str, arguments: list[str]) -> None:
    assert isinstance(preview(file, *arguments).exception, SpecError)


def test_a_pattern_without_files_is_refused(tmp_path: Path) -> None:
    assert isinstance(preview(str(tmp_path / "*.jsonl")).exception, DataError)
