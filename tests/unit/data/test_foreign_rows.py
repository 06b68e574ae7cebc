"""Rows of tools that know nothing of groups: recognised by name, and brought to one response behind its prompt."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from trialign_ray.data.importers import import_logs, validate_sources
from trialign_ray.data.preview import preview
from trialign_ray.data.shapes import SHAPES, recognise
from trialign_ray.errors import DataError

from .mountains import TEXTS, Row, completion, file_of, imported, written

PLACE = {"question_id": "japan", "group": "neutral"}
USER = {"role": "user", "content": TEXTS["japan"]}
FUJI = {"role": "assistant", "content": "It is Fuji."}
HELP = {"role": "system", "content": "Help."}
SAID = {"from": "gpt", "value": "It is Fuji."}
TOOL = {"from": "observation", "value": "x"}
HUMAN = {"from": "human", "value": TEXTS["japan"]}
BODY = {"model": "m", "choices": [{"index": 0, "finish_reason": "stop", "message": FUJI}]}
RESPONSES = {
    "output": [{"type": "reasoning"}, {"type": "message", "content": [{"type": "output_text", "text": "It is Fuji."}]}]
}
COLUMNS = {"role": ["user", "assistant"], "content": [USER["content"], FUJI["content"]]}
BATCH = {"id": "b", "custom_id": "japan/neutral/0/0123abcd", "error": None}
SAMPLE = {
    **{"id": 1, "epoch": 1, "input": TEXTS["japan"], "target": "Fuji", "messages": [HELP, USER, FUJI]},
    **{"output": {"model": "m", "choices": [{"message": FUJI}], "completion": "It is Fuji."}, "metadata": PLACE},
}


@pytest.mark.parametrize(
    ("shape", "row", "prompt"),
    [
        ("sharegpt", {**PLACE, "id": "x", "conversations": [HUMAN, SAID]}, [USER]),
        ("sharegpt", {**PLACE, "system": "Help.", "conversations": [HUMAN, SAID]}, [HELP, USER]),
        ("alpaca", {**PLACE, "instruction": TEXTS["japan"], "input": "", "output": "It is Fuji."}, [USER]),
        (
            "alpaca",
            {**PLACE, "instruction": "Which mountain is", "input": "the highest of Japan?", "output": "It is Fuji."},
            [{"role": "user", "content": "Which mountain is\nthe highest of Japan?"}],
        ),
        (
            "alpaca",
            {**PLACE, "instruction": TEXTS["japan"], "output": "It is Fuji.", "history": [["Hi", "Hello"]]},
            [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}, USER],
        ),
        ("lmsys", {**PLACE, "conversation_id": "c", "model": "m", "turn": 1, "conversation": [USER, FUJI]}, [USER]),
        ("openai_batch", {**BATCH, "messages": [USER], "response": {"status_code": 200, "body": BODY}}, [USER]),
        ("openai_batch", {**BATCH, "messages": [USER], "response": {"status_code": 200, "body": RESPONSES}}, [USER]),
        ("inspect", SAMPLE, [HELP, USER]),
        ("chat", {**PLACE, "messages": json.dumps([USER, FUJI])}, [USER]),
        ("chat", {**PLACE, "messages": COLUMNS}, [USER]),
    ],
)  # fmt: skip
def test_a_row_of_a_known_tool_is_one_response_behind_its_prompt(
    tmp_path: Path, shape: str, row: Row, prompt: list[Row]
) -> None:
    report = imported(tmp_path, [row])
    assert (list(report.shapes), report.rows_rejected) == ([shape], 0)
    assert written(tmp_path, "question_id", "group", "messages", "response", "answer") == [
        ("japan", "neutral", prompt, "It is Fuji.", "Fuji")
    ]


def test_the_arena_s_two_answers_are_two_rows_and_its_vote_is_no_truth(tmp_path: Path) -> None:
    everest = {"role": "assistant", "content": "It is Everest."}
    row = {**PLACE, "model_a": "a", "model_b": "b", "winner": "model_b", "turn": 1, "language": "English"}
    report = imported(tmp_path, [row | {"conversation_a": [USER, FUJI], "conversation_b": [USER, everest]}])
    assert written(tmp_path, "response", "reward_truth", "source", "turn") == [
        ("It is Fuji.", 1.0, "a", 1),
        ("It is Everest.", 0.0, "b", 1),
    ]
    assert report.ignored["winner"] == 2


@pytest.mark.parametrize(
    ("row", "field", "said"),
    [
        ({**PLACE, "instruction": 3, "output": "x"}, "instruction", "is a int; expected text"),
        ({**PLACE, "instruction": "a", "output": "x", "history": ["a"]}, "history", "two texts for each round"),
        ({**BATCH, "messages": [USER], "error": {"code": "expired"}}, "response", "the request failed: expired"),
        ({**BATCH, "messages": [USER], "response": {"status_code": 200, "body": {}}}, "response", "no chat completion"),
        ({**SAMPLE, "error": {"message": "boom"}}, "response", "since the sample failed: boom"),
        ({**PLACE, "conversations": [HUMAN, SAID, TOOL]}, "messages", "has role 'observation'"),
        ({"group": "neutral", "conversations": [HUMAN, SAID]}, "question_id", "is missing"),
    ],
)  # fmt: skip
def test_one_cause_is_one_fault(tmp_path: Path, row: Row, field: str, said: str) -> None:
    [fault] = validate_sources([file_of(tmp_path, [row])], completion()).problems
    assert fault.field == field
    assert said in fault.reason


def test_paths_and_constants_add_to_what_a_shape_gives(tmp_path: Path) -> None:
    row = {"id": "q1", "meta": {"question": "japan"}, "conversations": [HUMAN, SAID]}
    report = imported(tmp_path, [row], (), {"question_id": "meta.question", "group": "=neutral"})
    assert written(tmp_path, "question_id", "group", "response") == [("japan", "neutral", "It is Fuji.")]
    assert (list(report.shapes), report.ignored) == (["sharegpt"], {"id": 1})


MESSAGES = {
    "text": (pa.string(), json.dumps([USER, FUJI])),
    "structs": (pa.list_(pa.struct([(key, pa.string()) for key in ("role", "content", "name")])), [USER, FUJI]),
    "maps": (pa.list_(pa.map_(pa.string(), pa.string())), [list(each.items()) for each in (USER, FUJI)]),
    "columns": (
        pa.struct([("role", pa.list_(pa.string())), ("content", pa.list_(pa.string()))]),
        COLUMNS,
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", MESSAGES)
def test_messages_in_parquet_are_text_structs_maps_or_columns(tmp_path: Path, kind: str) -> None:
    arrow, value = MESSAGES[kind]
    columns: dict[str, Any] = {"question_id": ["japan"], "group": ["neutral"], "sample": [0.0]}
    pq.write_table(pa.table({**columns, "messages": pa.array([value], arrow)}), tmp_path / "rows.parquet")
    import_logs([tmp_path / "rows.parquet"], tmp_path / "logs", completion())
    assert written(tmp_path, "messages", "response", "sample") == [([USER], "It is Fuji.", 0)]


def test_every_shape_is_tried_and_a_row_of_the_schema_has_none() -> None:
    assert recognise({"question_id": "japan", "response": "Fuji"})[0] == "log"
    assert all(shape.mark({}) is None for shape in SHAPES.values())


def test_a_preview_names_the_shape_shows_rows_and_counts_faults_and_writes_nothing(tmp_path: Path) -> None:
    good = {**PLACE, "prompt": [USER], "chosen": [FUJI], "rejected": [{**FUJI, "content": "It is Everest."}]}
    file = file_of(tmp_path, [good, {**good, "group": "Nobody!"}, good])
    before = sorted(tmp_path.iterdir())
    found = preview([file], completion(), shown=3, most=2)
    assert (found.read, found.whole, found.found.rows, found.found.bad_rows) == (2, False, 4, 2)
    [shape] = found.shapes
    assert (shape.name, shape.rows, shape.why) == ("dpo", 2, "it has 'chosen' and 'rejected'")
    assert [(row.row, row.fields["response"]) for row in found.stored] == [
        (1, "It is Fuji."), (1, "It is Everest."), (2, "It is Fuji."),
    ]  # fmt: skip
    assert found.found.counts == {"group: value": 2}
    assert found.stored[0].faults == ()
    assert "field 'group'" in found.stored[2].faults[0]
    assert sorted(tmp_path.iterdir()) == before


def test_a_preview_without_a_model_says_that_ids_are_missing_and_calls_no_row_bad(tmp_path: Path) -> None:
    file = file_of(tmp_path, [{**PLACE, "conversations": [HUMAN, SAID], "references": ["Fuji"], "answer": "Fuji",
                               "label": True}])  # fmt: skip
    from trialign_ray.data.normalisation import Completion

    found = preview([file], Completion()).found
    assert (found.bad_rows, found.warnings[-1]) == (0, "1 rows have no token ids: import them with --model.")
    with pytest.raises(DataError, match="no rows"):
        preview([file_of(tmp_path, [], "empty.jsonl")], Completion())
