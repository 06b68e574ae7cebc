"""Chat messages and responses as the token ids that the policy sees."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from jinja2 import TemplateError

from trialign_ray.errors import DataError, ModelError


class ChatTokens:
    """A tokenizer seen through its chat template."""

    def __init__(self, tokenizer: Any) -> None:
        if tokenizer.eos_token_id is None:
            raise ModelError("the tokenizer has no end-of-turn token (eos_token), so a response would never end.")
        self._tokenizer = tokenizer
        self.end_of_turn: int = tokenizer.eos_token_id
        self.stop_ids: tuple[int, ...] = _stop_ids(tokenizer)
        self.vocabulary: int = len(tokenizer)

    def prompt(self, messages: Sequence[Mapping[str, str]]) -> list[int]:
        """Token ids of chat messages, generation prompt included; raises DataError where the template refuses them."""
        try:
            encoded = self._tokenizer.apply_chat_template(
                [dict(message) for message in messages], add_generation_prompt=True, return_dict=True
            )
        except (TemplateError, ValueError) as error:
            raise DataError(f"the chat template refuses the messages: {error}") from None
        return list(encoded["input_ids"])

    def response(self, text: str) -> list[int]:
        """Token ids of a response, end-of-turn included."""
        return [*self._tokenizer.encode(text, add_special_tokens=False), self.end_of_turn]

    def decode(self, ids: Sequence[int]) -> str:
        """The text of a response, without the tokens that end a turn."""
        kept = [token for token in ids if token not in self.stop_ids]
        return str(self._tokenizer.decode(kept, skip_special_tokens=False)).strip()


def _stop_ids(tokenizer: Any) -> tuple[int, ...]:
    """End-of-turn first; the end-of-text token ends a turn too."""
    end_of_text = tokenizer.get_vocab().get("<|endoftext|>")
    ids = [tokenizer.eos_token_id, *([] if end_of_text is None else [end_of_text])]
    return tuple(dict.fromkeys(ids))
