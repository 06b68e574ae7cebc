"""The files of a batch: what is written can be read back, and what failed is told apart."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trialign_ray.data.openai_batch import Asked, digest, is_batch, read_batch, request_line
from trialign_ray.errors import DataError, RowError

WORDS = "0123abcd"
FINE = {"choices": [{"message": {"content": "Lima"}, "finish_reason": "stop"}]}
names = st.from_regex(r"[a-z0-9_]{1,40}", fullmatch=True)


@given(st.text(min_size=1, max_size=120), names, st.integers(0, 63), st.text(max_size=9))
def test_a_custom_id_tells_what_was_asked(question_id: str, group: str, sample: int, text: str) -> None:
    asked = Asked(question_id, group, sample, digest([{"role": "user", "content": text}]))
    assert Asked.of(asked.custom_id) == asked


def test_other_words_are_another_request() -> None:
    said = [[{"role": role, "content": text}] for role in ("system", "user") for text in ("a", "b", "")]
    assert len({digest(messages) for messages in said}) == len(said)
    assert digest([{"role": "user", "content": "a"}]) == digest([{"content": "a", "role": "user"}])


@pytest.mark.parametrize(
    "text", ["request-1", "", "a/b", "a/b/c", "a/b/1", f"a/b/-1/{WORDS}", f"/b/1/{WORDS}", "a/b/1/x"]
)
def test_another_s_custom_id_tells_nothing(text: str) -> None:
    assert Asked.of(text) is None


def write(folder: Path, *lines: Any) -> Path:
    file = folder / "out.jsonl"
    file.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines))
    return file


def line(custom_id: str, status: int, body: Any, error: Any = None) -> dict[str, Any]:
    response = None if error else {"status_code": status, "request_id": "r", "body": body}
    return {"id": "b", "custom_id": f"{custom_id}/{WORDS}", "response": response, "error": error}


def test_a_reply_and_each_kind_of_error_are_told_apart(tmp_path: Path) -> None:
    file = write(
        tmp_path,
        line("q/neutral/0", 200, FINE),
        line("q/farmer/0", 429, {"error": {"code": "rate_limit_exceeded", "message": "slow down"}}),
        line("q/farmer/1", 500, None),
        line("q/a/b/neutral/2", 0, None, {"code": "batch_expired", "message": "too late"}),
        line("q/neutral/3", 0, None, {"message": "cancelled"}),
    )
    assert is_batch(file)
    found = list(read_batch(file))
    assert [one.asked for one in found][3] == ("q/a/b", "neutral", 2, WORDS)
    assert [one.reply.text if one.reply else one.error for one in found] == [
        *("Lima", "rate_limit_exceeded", "status 500", "batch_expired", "cancelled"),
    ]


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ("{", r"out\.jsonl:2: field '\(row\)' is not valid JSON"),
        (line("request-7", 200, FINE), r"out\.jsonl:2: field 'custom_id' is not one that `trialign questions"),
        (line("q/g/0", 200, {"choices": []}), r"out\.jsonl:2: field 'response' cannot be read: .*no chat completion"),
    ],
)
def test_a_line_that_cannot_be_read_is_named(tmp_path: Path, bad: Any, said: str) -> None:
    with pytest.raises(RowError, match=said):
        list(read_batch(write(tmp_path, line("q/neutral/0", 200, FINE), bad)))


@pytest.mark.parametrize("other", ['{"question_id": "q", "response": "Lima"}', '{"custom_id": "x"}', "", "{"])
def test_other_files_are_no_batch(tmp_path: Path, other: str) -> None:
    assert not is_batch(write(tmp_path, other))


def test_the_requests_themselves_are_not_taken_for_answers(tmp_path: Path) -> None:
    file = write(tmp_path, request_line(Asked("q", "neutral", 0, WORDS), {"model": "m"}))
    with pytest.raises(DataError, match="holds the requests of a batch"):
        is_batch(file)
