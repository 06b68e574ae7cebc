"""What a request is made of, and what makes two of them one."""

from __future__ import annotations

from typing import Any

import pytest

from trialign_ray.inference.base import Sampling
from trialign_ray.inference.endpoint import ChatRequest, chat_body

ASKED = [{"role": "user", "content": "Peru’s capital?"}]


def body(temperature: float = 0.7, seed: int = 3, **changes: Any) -> dict[str, Any]:
    return chat_body("m", ASKED, Sampling(48, temperature), seed, changes)


def test_a_sampled_request_has_a_seed_and_a_greedy_one_has_none() -> None:
    sampled = {"model": "m", "messages": ASKED, "max_tokens": 48, "temperature": 0.7, "seed": 3}
    assert body() == sampled
    greedy = body(temperature=0.0)
    assert greedy == {name: value for name, value in sampled.items() if name != "seed"} | {"temperature": 0.0}


def test_changes_are_put_over_and_null_leaves_a_field_out() -> None:
    changes = {"max_tokens": None, "max_completion_tokens": 9, "seed": None, "temperature": 1}
    changed = chat_body("m", ASKED, Sampling(48, 0.7), 3, changes)
    assert changed == {"model": "m", "messages": ASKED, "temperature": 1, "max_completion_tokens": 9}


@pytest.mark.parametrize(
    "other",
    [
        ChatRequest("http://other/v1", body()),
        ChatRequest("http://h/v1", body(seed=4)),
        ChatRequest("http://h/v1", body(temperature=0.8)),
        ChatRequest("http://h/v1", body(), 1),
    ],
)
def test_requests_that_differ_have_other_keys(other: ChatRequest) -> None:
    assert other.key != ChatRequest("http://h/v1", body()).key


def test_what_does_not_change_the_answer_does_not_change_the_key() -> None:
    turned = dict(reversed(body().items()))
    assert ChatRequest("u", body(), 0, "one").key == ChatRequest("u", turned, 0, "two").key


def test_half_of_a_surrogate_pair_has_a_key_too() -> None:
    messages = [{"role": "user", "content": "\ud83d"}]
    assert len(ChatRequest("u", chat_body("m", messages, Sampling(1), 0, {})).key) == 64
