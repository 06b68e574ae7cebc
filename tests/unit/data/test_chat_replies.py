"""A reply is read whichever server sends it, and what is none is said to be none."""

from __future__ import annotations

from typing import Any

import pytest

from trialign_ray.data.chat_replies import ChatReply, error_text, read_reply
from trialign_ray.errors import BadReplyError


def reply(message: Any, top: dict[str, Any] | None = None, **choice: Any) -> dict[str, Any]:
    return {"model": "m", "choices": [{"message": message, "finish_reason": "stop", **choice}], **(top or {})}


@pytest.mark.parametrize(
    ("message", "text"),
    [
        ({"content": "Lima"}, "Lima"),
        ({"content": [{"type": "text", "text": "Li"}, {"type": "image"}, {"type": "text", "text": "ma"}]}, "Lima"),
        ({"content": None, "refusal": "I cannot say."}, "I cannot say."),
        ({"content": "Lima", "reasoning_content": "Cusco? No."}, "Lima"),
        ({"content": None, "reasoning_content": "It is"}, ""),
        ({"content": None, "tool_calls": []}, ""),
    ],
)
def test_the_text_is_what_the_user_sees(message: dict[str, Any], text: str) -> None:
    assert read_reply(reply(message)) == ChatReply(text, "stop", "m")


def test_a_response_that_was_cut_says_so() -> None:
    cut, whole, silent = (read_reply(reply({"content": "x"}, finish_reason=end)) for end in ("length", "stop", None))
    assert (cut.cut, whole.cut, silent.cut) == (True, False, False)


LOGPROBS = [{"token": "a", "logprob": -0.5, "id": 7}, {"token": "b", "logprob": 0, "id": 8}]
WITHOUT_IDS = [{"token": "a", "logprob": -0.5}, {"token": "b", "logprob": -1.0}]


@pytest.mark.parametrize(
    ("choice", "ids", "logprobs"),
    [
        ({"token_ids": [1, 2], "logprobs": {"content": WITHOUT_IDS}}, [1, 2], [-0.5, -1.0]),  # vLLM
        ({"logprobs": {"content": LOGPROBS}}, [7, 8], [-0.5, 0]),  # llama.cpp
        ({"logprobs": {"content": WITHOUT_IDS}}, None, None),  # OpenAI
        ({"token_ids": [1, 2, 3], "logprobs": {"content": WITHOUT_IDS}}, [1, 2, 3], None),
        ({"token_ids": [1, 2]}, [1, 2], None),
        ({"token_ids": [1, 2], "logprobs": {"content": [{"logprob": None}, {"logprob": "x"}]}}, [1, 2], None),
        ({"token_ids": ["1"], "logprobs": {"content": "?"}}, None, None),
        ({"logprobs": None}, None, None),
    ],
)
def test_log_probs_are_had_where_each_has_its_token_id(
    choice: dict[str, Any], ids: list[int] | None, logprobs: list[float] | None
) -> None:
    found = read_reply(reply({"content": "x"}, {"prompt_token_ids": [5]}, **choice))
    assert (found.ids, found.logprobs, found.prompt_ids) == (ids, logprobs, [5])


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"error": {"message": "no such model"}}, "no such model"),
        ({"detail": "not found"}, "not found"),
        ("<html>", "<html>"),
        (None, "None"),
        ({"choices": []}, "no chat completion"),
        ({"choices": ["x"]}, "no chat completion"),
        ({"choices": [{"text": "a completion"}]}, "no 'message'"),
    ],
)
def test_what_is_no_chat_completion_is_refused_with_what_the_server_says(body: Any, said: str) -> None:
    with pytest.raises(BadReplyError, match=said):
        read_reply(body)


def test_an_error_is_one_short_line() -> None:
    assert error_text({"error": {"message": "a\nb   c " + "x" * 1000}}) == ("a b c " + "x" * 1000)[:300]
