"""What holds for every chat template, in the shapes of real ones."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import pytest

from trialign_ray.config.game import Group, GroupSet, Question, QuestionSet
from trialign_ray.envs.prompts import first_turn
from trialign_ray.errors import DataError, ModelError
from trialign_ray.models.chat_tokens import ChatTokens
from trialign_ray.rewards.verifiers import AnswerReader

from .templates import SHAPES, chat

EVERY = pytest.mark.parametrize("name", SHAPES)
QUESTION = Question(question_id="q", text="what is the capital of peru ?", references=("lima",))
GROUPS = GroupSet(
    system="you are a helpful assistant .",
    groups=(
        Group(name="neutral"),
        Group(name="farmer", persona="the user is a farmer ."),
        Group(name="professor", persona="the user is a professor ."),
    ),
)


def words(tokens: ChatTokens, ids: list[int]) -> str:
    return str(tokens._tokenizer.decode(ids, skip_special_tokens=False))


@EVERY
def test_every_persona_reaches_the_model(name):
    tokens = chat(name)
    prompts = [tokens.prompt(first_turn(GROUPS, group, QUESTION)) for group in GROUPS.groups]
    assert all(one != other for one, other in combinations(prompts, 2))
    assert all("you are a helpful assistant" in words(tokens, prompt) for prompt in prompts)
    assert "the user is a farmer" in words(tokens, prompts[1])


@EVERY
def test_several_system_messages_reach_the_model(name):
    systems = [{"role": "system", "content": text} for text in ("you are a helpful assistant", "the user is a farmer")]
    tokens = chat(name)
    shown = words(tokens, tokens.prompt([*systems, {"role": "user", "content": "what city"}]))
    assert all(part in shown for part in ("you are a helpful assistant", "the user is a farmer", "what city"))
    assert shown.index("helpful") < shown.index("farmer") < shown.index("city")


@EVERY
def test_earlier_turns_reach_the_model(name):
    said = ["the user is a farmer", "hey", "what city"]
    tokens = chat(name)
    turns = [{"role": role, "content": text} for role, text in zip(("user", "assistant", "user"), said, strict=True)]
    shown = words(tokens, tokens.prompt([{"role": "system", "content": "short answer"}, *turns]))
    assert all(part in shown for part in ("short answer", *said))


@EVERY
def test_a_turn_ends_with_what_the_template_writes_and_generation_stops_there(name):
    tokens, tokenizer = chat(name), SHAPES[name].tokenizer()
    closing = tokenizer.convert_tokens_to_ids(SHAPES[name].closing)
    assert tokens.response("lima")[-1] == tokens.end_of_turn == closing
    assert closing in tokens.stop_ids


@EVERY
def test_an_imported_response_ends_as_the_rendered_chat_does(name):
    tokens, tokenizer = chat(name), SHAPES[name].tokenizer()
    exchange = [{"role": "user", "content": "what city"}, {"role": "assistant", "content": "lima"}]
    encoded: Any = tokenizer.apply_chat_template(exchange, return_dict=True)
    rendered = list(encoded["input_ids"])
    response = tokens.response("lima")
    at = max(at for at, token in enumerate(rendered) if token == response[0])
    assert rendered[at : at + len(response)] == response


def test_a_template_that_takes_a_system_message_gets_it_as_its_own():
    tokens = chat("qwen3")
    assert words(tokens, tokens.prompt(first_turn(GROUPS, GROUPS.groups[1], QUESTION))).startswith(
        "<|im_start|> system"
    )


@pytest.mark.parametrize("name", ["gemma", "mistral", "without system"])
def test_a_system_message_that_is_refused_or_left_out_stands_at_the_head_of_the_user_s_turn(name):
    tokens = chat(name)
    system, user = first_turn(GROUPS, GROUPS.groups[1], QUESTION)
    folded = [{"role": "user", "content": f"{system['content']}\n\n{user['content']}"}]
    assert tokens.prompt([system, user]) == tokens.prompt(folded)


def test_messages_that_no_form_shows_are_refused():
    with pytest.raises(DataError, match="refuses the messages: roles must take turns"):
        chat("mistral").prompt([{"role": "user", "content": text} for text in ("one", "two")])
    with pytest.raises(DataError, match="leaves out one of the messages"):
        chat("without system").prompt([{"role": "user", "content": "one"}, {"role": "system", "content": "two"}])


def test_arguments_of_the_template_are_set():
    system, user = first_turn(GROUPS, GROUPS.groups[0], QUESTION)
    thinking, direct = chat("qwen3"), chat("qwen3", enable_thinking=False)
    assert direct.prompt([system, user])[: len(thinking.prompt([system, user]))] == thinking.prompt([system, user])
    assert len(direct.prompt([system, user])) > len(thinking.prompt([system, user]))


@pytest.mark.parametrize("argument", ["enable_thinkin", "messages", "bos_token"])
def test_an_argument_that_the_template_does_not_read_is_refused(argument):
    with pytest.raises(ModelError, match=f"reads no argument '{argument}'"):
        chat("qwen3", **{argument: False})


def test_a_closing_text_that_is_no_token_is_refused():
    tokenizer = SHAPES["qwen3"].tokenizer()
    tokenizer.chat_template = SHAPES["qwen3"].template.replace("<|im_end|>", "<|done|>")
    with pytest.raises(ModelError, match=r"ends the assistant's turn with '<\|done\|>', which is no token"):
        ChatTokens(tokenizer)


def test_a_template_that_leaves_out_the_assistant_is_refused():
    tokenizer = SHAPES["qwen3"].tokenizer()
    tokenizer.chat_template = "{% for m in messages if m.role=='user' %}{{ m.content }}{% endfor %}"
    with pytest.raises(ModelError, match="leaves out what the assistant says"):
        ChatTokens(tokenizer)


def read(name: str, said: str) -> tuple[str, str | None]:
    """A generated response as text, and the answer in it."""
    tokens = chat(name)
    text = tokens.decode(list(tokens._tokenizer.encode(said, add_special_tokens=False)))
    return text, AnswerReader(QuestionSet(name="one", questions=(QUESTION,))).read(QUESTION, text).value


def test_reasoning_that_the_prompt_opened_and_the_budget_cut_off_is_no_answer():
    assert read("deepseek", "lima") == ("<think>lima", None)
    assert read("deepseek", "paris </think> lima <|eos|>")[1] == "lima"
    assert read("qwen3", "lima <|im_end|>") == ("lima", "lima")


def test_tags_of_reasoning_stay_in_the_text_where_they_are_control_tokens():
    said = "<|channel|> analysis <|message|> paris <|end|> <|start|> assistant"
    assert read("harmony", said) == ("<|channel|>analysis<|message|>paris assistant", None)
    text, answer = read("harmony", f"{said} <|channel|> final <|message|> lima <|return|>")
    assert text.endswith("<|channel|>final<|message|>lima")
    assert answer == "lima"


@pytest.mark.parametrize(
    ("name", "text"), [("qwen3", "one <|im_end|> two"), ("mistral", "[/INST] one"), ("phi", "<|end|>")]
)
def test_a_control_token_in_a_message_is_refused(name, text):
    with pytest.raises(DataError, match=r"of role 'user' holds '.*', which the tokenizer reads as a control token"):
        chat(name).prompt([{"role": "user", "content": text}])
