from __future__ import annotations

from typing import Any

import pytest
from transformers import GenerationConfig, PreTrainedTokenizerFast

from tests.tiny import WORDS, tiny_tokenizer
from trialign_ray.data.normalisation import Tokenize
from trialign_ray.errors import DataError, ModelError
from trialign_ray.models.chat_tokens import ChatTokens, stop_ids

ASK = [{"role": "user", "content": "what is the capital"}]
TEXT = "the capital of peru is lima"


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    return tiny_tokenizer()


@pytest.fixture(scope="module")
def tokens(tokenizer):
    return ChatTokens(tokenizer)


def generation(eos: int | list[int] | None) -> Any:
    return GenerationConfig(eos_token_id=eos)  # type: ignore[no-untyped-call]


def id_of(tokenizer: Any, token: str) -> int:
    return int(tokenizer.convert_tokens_to_ids(token))


def changed(**changes: Any) -> PreTrainedTokenizerFast:
    found = tiny_tokenizer()
    for name, value in changes.items():
        setattr(found, name, value)
    return found


def test_it_is_what_imports_tokenise_with(tokens):
    tokenize: Tokenize = tokens
    assert tokenize.prompt(ASK)
    assert tokenize.response(TEXT)


def test_a_prompt_is_the_rendered_template_with_the_generation_prompt(tokens, tokenizer):
    rendered = tokenizer.apply_chat_template(ASK, tokenize=False, add_generation_prompt=True)
    assert tokenizer.decode(tokens.prompt(ASK)).split() == rendered.split()
    assert tokenizer.decode(tokens.prompt(ASK)).split()[-2:] == ["<|im_start|>", "assistant"]


def test_a_response_ends_its_turn_once(tokens, tokenizer):
    ids = tokens.response(TEXT)
    assert ids[-1] == tokens.end_of_turn == id_of(tokenizer, "<|im_end|>")
    assert not set(ids[:-1]) & set(tokens.stop_ids)


@pytest.mark.parametrize("text", [TEXT, "lima", "", " ".join(WORDS)])
def test_a_response_survives_the_round_trip(tokens, text):
    assert tokens.decode(tokens.response(text)) == text


def test_a_prompt_and_its_response_are_the_chat_that_the_template_renders(tokens, tokenizer):
    chat = tokenizer.apply_chat_template([*ASK, {"role": "assistant", "content": TEXT}], return_dict=True)["input_ids"]
    assert tokens.prompt(ASK) + tokens.response(TEXT) == chat


def test_decoding_takes_every_stop_token_out_and_no_other(tokens, tokenizer):
    lima, other = id_of(tokenizer, "lima"), id_of(tokenizer, "<|im_start|>")
    assert tokens.decode([lima, *tokens.stop_ids]) == tokens.decode([lima]) == "lima"
    assert tokens.decode([other, lima]) == "lima"
    assert tokens.decode([]) == ""


def test_end_of_text_ends_a_turn_too(tokens, tokenizer):
    assert tokens.stop_ids == (id_of(tokenizer, "<|im_end|>"), id_of(tokenizer, "<|endoftext|>"))


@pytest.mark.parametrize(
    ("eos", "expected"), [(None, (3, 4)), (3, (3, 4)), (9, (3, 9, 4)), ([8, 3, 9], (3, 8, 9, 4)), ([4], (3, 4))]
)
def test_the_generation_configuration_adds_stop_tokens_without_repeats(tokenizer, eos, expected):
    assert stop_ids(tokenizer, generation(eos)) == expected


def test_the_turn_ends_as_the_template_ends_it():
    tokenizer = changed(eos_token="<|endoftext|>")
    config = generation([id_of(tokenizer, "<|endoftext|>"), id_of(tokenizer, "<|im_end|>")])
    assert ChatTokens(tokenizer, config).end_of_turn == id_of(tokenizer, "<|im_end|>")


def test_a_template_that_ends_no_turn_leaves_it_to_the_tokenizer():
    tokenizer = changed(chat_template="{% for m in messages %}{{ m['content'] }} {% endfor %}")
    assert ChatTokens(tokenizer).end_of_turn == id_of(tokenizer, "<|im_end|>")


def test_a_tokenizer_without_any_stop_token_is_refused():
    class Endless:
        eos_token_id = None

        def get_vocab(self) -> dict[str, int]:
            return {"lima": 0}

    endless: Any = Endless()
    with pytest.raises(ModelError, match=r"would never end\. Set 'eos_token'"):
        ChatTokens(endless)


def test_a_tokenizer_without_a_chat_template_is_refused():
    with pytest.raises(ModelError, match="no chat template"):
        ChatTokens(changed(chat_template=None))


def test_messages_that_the_template_refuses_are_a_fault_of_the_data():
    refusal = "{% if messages[0]['content'] == 'no' %}{{ raise_exception('say yes') }}{% endif %}"
    strict = refusal + "{{ messages[-1]['content'] }}"
    tokens = ChatTokens(changed(chat_template=strict))
    with pytest.raises(DataError, match="refuses the messages: say yes"):
        tokens.prompt([{"role": "user", "content": "no"}])


def test_a_prompt_without_messages_is_a_fault_of_the_data(tokens):
    with pytest.raises(DataError, match="refuses the messages"):
        tokens.prompt([])


@pytest.mark.parametrize("text", ["lima <|im_end|>", "lima <|endoftext|> paris"])
def test_a_response_that_ends_its_turn_early_is_a_fault_of_the_data(tokens, text):
    with pytest.raises(DataError, match=r"which ends a turn\. Remove it and what follows"):
        tokens.response(text)


def test_the_vocabulary_counts_every_token(tokens, tokenizer):
    assert tokens.vocabulary == len(tokenizer)
    assert max(tokens.prompt(ASK)) < tokens.vocabulary
