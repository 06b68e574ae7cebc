"""Labels that are guessed from what the groups say."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from tests.unit.data.test_regimes import row
from trialign_ray.data.dataset import open_dataset, read_logs, write_logs
from trialign_ray.data.guessing import GUESSED, guess_labels
from trialign_ray.data.schema import SCHEMA
from trialign_ray.errors import DataError

OPEN: dict[str, object] = {"kind": "subjective", "references": [], "reward_truth": None}
UNREAD = {"answer": None, "answer_kind": "unextracted"}


def logs(folder: Path) -> str:
    """q0 has a truth; of q2 two of three name Oslo, of q4 one of two, q6 names none, and q8 is held out."""
    said = [("q2", "Oslo"), ("q2", "Rome"), ("q2", "Oslo"), ("q4", "Rome"), ("q4", ""), ("q6", ""), ("q8", "Oslo")]
    rows = [row("q0", "nurse", 0, "right")]
    for index, (question, answer) in enumerate(said):
        split = "heldout" if question == "q8" else "train"
        rows.append(row(question, "nurse", index, answer, split) | OPEN | ({} if answer else UNREAD))
    write_logs(pa.Table.from_pylist(rows, schema=SCHEMA), folder / "logs", ["nurse"])
    return str(folder / "logs")


def truths(dataset: Path) -> dict[str, list[str]]:
    return {each["question_id"]: each["references"] for each in read_logs(open_dataset(dataset)).to_pylist()}


def test_a_question_without_a_truth_gets_the_answer_that_most_responses_name(tmp_path: Path) -> None:
    found = guess_labels(logs(tmp_path), tmp_path / "new")
    assert (found.unlabelled, found.truths) == (3, {"q2": "Oslo", "q4": "Rome"})
    assert found.shares == {"q2": pytest.approx(2 / 3), "q4": 0.5}
    assert truths(tmp_path / "new") == {"q0": ["right"], "q2": ["Oslo"], "q4": ["Rome"], "q6": [], "q8": []}
    for each in read_logs(open_dataset(tmp_path / "new")).to_pylist():
        guessed = each["question_id"] in ("q2", "q4")
        assert each["source"].endswith(GUESSED) == guessed
        if guessed:
            right = float(each["answer"] == found.truths[each["question_id"]])
            assert (each["kind"], each["reward_truth"]) == ("objective", right)


def test_too_few_who_name_it_give_no_label(tmp_path: Path) -> None:
    assert guess_labels(logs(tmp_path), tmp_path / "new", least=0.6).truths == {"q2": "Oslo"}


def test_where_nothing_can_be_guessed_nothing_is_written(tmp_path: Path) -> None:
    source = logs(tmp_path)
    with pytest.raises(DataError, match="too few name the same"):
        guess_labels(source, tmp_path / "new", least=0.9)
    assert not (tmp_path / "new").exists()
    guess_labels(source, tmp_path / "new")
    with pytest.raises(DataError, match="holds a log dataset"):
        guess_labels(source, tmp_path / "new")


def test_labelled_logs_are_refused(tmp_path: Path) -> None:
    write_logs(pa.Table.from_pylist([row("q0", "nurse", 0, "right")], schema=SCHEMA), tmp_path / "logs", ["nurse"])
    with pytest.raises(DataError, match="every training question has a truth"):
        guess_labels(tmp_path / "logs", tmp_path / "new")
