"""What each protocol tells an agent before it answers again."""

from __future__ import annotations

import pytest

from trialign_ray.config.protocols import PROTOCOLS
from trialign_ray.envs.protocols.base import Said, later_turn, load_protocol
from trialign_ray.errors import SpecError

SAID = {
    "neutral": Said("It is Lima.", "lima"),
    "farmer": Said("Paris, of course.", "paris"),
    "nurse": Said("Lima!", "lima"),
    "poet": Said("Who can tell?", None),
}
QUESTION = "What is the capital of Peru?"
FIRST = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": QUESTION}]
TALKING = [name for name, entry in PROTOCOLS.items() if entry.most > 1]


def request(name: str, group: str = "farmer", said: dict[str, Said] = SAID) -> str:
    return load_protocol(name)(QUESTION, group, said).request


def shows(name: str, response: Said) -> bool:
    """Whether the farmer is told of a peer's response, its words or its answer."""
    other = SAID | {"nurse": response}
    return request(name) != request(name, said=other)


@pytest.mark.parametrize("name", TALKING)
def test_a_later_turn_holds_the_first_prompt_and_one_s_own_response_and_asks_again(name: str) -> None:
    messages, _ = later_turn(load_protocol(name), FIRST, "farmer", SAID["farmer"], SAID)
    assert messages[:2] == FIRST
    assert messages[2] == {"role": "assistant", "content": "Paris, of course."}
    assert messages[3]["role"] == "user"
    assert messages[3]["content"].endswith(QUESTION)
    assert not any(group in messages[3]["content"] for group in SAID)


@pytest.mark.parametrize(
    ("name", "words", "answer"),
    [
        ("self_refine", False, False),
        ("cooperative", True, True),
        ("debate", True, True),
        ("plurality", False, True),
        ("placebo", True, True),
    ],
)
def test_protocols_differ_in_what_is_told_of_peers(name: str, words: bool, answer: bool) -> None:
    assert shows(name, Said("LIMA", "lima")) == words
    assert shows(name, Said("Cusco", "cusco")) == answer


@pytest.mark.parametrize("name", TALKING)
def test_the_logs_hold_what_the_request_shows_of_peers_and_never_the_own_response_as_a_peer_s(name: str) -> None:
    _, peers = later_turn(load_protocol(name), FIRST, "farmer", SAID["farmer"], SAID)
    told = [peer["group"] for peer in peers]
    assert told == {"self_refine": [], "plurality": ["neutral", "nurse"]}.get(name, ["neutral", "nurse", "poet"])
    assert all(peer["response"] in request(name) for peer in peers)


def test_the_vote_counts_every_group_and_puts_the_plurality_first() -> None:
    lines = [line for line in request("plurality").splitlines() if line.startswith("- ")]
    assert lines == ["- lima: 2", "- paris: 1", "- no clear answer: 1"]
    assert request("plurality", "farmer") == request("plurality", "nurse")
    silent = {name: Said("?", None) for name in SAID}
    assert "- no clear answer: 4" in request("plurality", said=silent)


def test_the_placebo_does_not_say_that_the_answers_are_to_the_same_question() -> None:
    assert load_protocol("placebo").elsewhere
    assert not any(load_protocol(name).elsewhere for name in PROTOCOLS if name != "placebo")
    assert request("placebo") == request("cooperative").replace(
        "Other answers to the same question", "Answers to another question"
    )


def test_a_protocol_of_one_turn_tells_nothing_and_an_unknown_one_is_refused() -> None:
    with pytest.raises(SpecError, match=r"'independent' has one turn\. Set turns to 1, or choose another protocol"):
        request("independent")
    with pytest.raises(SpecError, match=r"'quarrel' is no protocol\. Choose one of independent, "):
        load_protocol("quarrel")
