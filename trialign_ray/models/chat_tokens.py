"""Chat messages and responses as the token ids that the policy sees, and back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import cast

from jinja2 import TemplateError

from trialign_ray.errors import DataError, ModelError
from trialign_ray.models.base import StopTokens, Tokenizer

_END_OF_TEXT = "<|endoftext|>"
_EXCHANGE = ({"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Hello"})


class ChatTokens:
    """A tokenizer seen through its chat template; implements `Tokenize` of the importers of logs."""

    def __init__(self, tokenizer: Tokenizer, generation_config: StopTokens | None = None) -> None:
        """`generation_config` is the model's, for the stop tokens that the tokenizer does not name.

        Raises ModelError where turns have no end or there is no chat template that can render them.
        """
        self._tokenizer = tokenizer
        self.stop_ids: tuple[int, ...] = stop_ids(tokenizer, generation_config)
        self.end_of_turn: int = _end_of_turn(tokenizer, self.stop_ids)
        self.vocabulary: int = len(tokenizer)

    def prompt(self, messages: Sequence[Mapping[str, str]]) -> list[int]:
        """Token ids of chat messages, generation prompt included; raises DataError where the template refuses them."""
        try:
            return _rendered(self._tokenizer, messages, add_generation_prompt=True)
        except (TemplateError, ValueError) as error:
            raise DataError(f"the chat template refuses the messages: {error}") from None

    def response(self, text: str) -> list[int]:
        """Token ids of a response, end-of-turn included; raises DataError where a turn would end within it."""
        ids = list(self._tokenizer.encode(text, add_special_tokens=False))
        early = next((token for token in ids if token in self.stop_ids), None)
        if early is not None:
            name = self._tokenizer.convert_ids_to_tokens(early)
            raise DataError(f"the response holds '{name}', which ends a turn. Remove it and what follows.")
        return [*ids, self.end_of_turn]

    def decode(self, ids: Sequence[int]) -> str:
        """The text of a response, without the tokens that end a turn and the white space around it."""
        kept = [token for token in ids if token not in self.stop_ids]
        return str(self._tokenizer.decode(kept, skip_special_tokens=True)).strip()


def stop_ids(tokenizer: Tokenizer, generation_config: StopTokens | None = None) -> tuple[int, ...]:
    """Ids of the tokens that end a turn, the tokenizer's `eos_token` first.

    Those of the generation configuration end it too, and so does '<|endoftext|>', which models that close turns with
    a token of their own keep from pre-training. Raises ModelError where there is none.
    """
    configured = None if generation_config is None else generation_config.eos_token_id
    named = [tokenizer.eos_token_id, *_listed(configured)]
    ids = [token for token in (*named, tokenizer.get_vocab().get(_END_OF_TEXT)) if token is not None]
    if not ids:
        raise ModelError(
            "the tokenizer has no end-of-turn token, so a response would never end. Set 'eos_token' in its "
            "tokenizer_config.json."
        )
    return tuple(dict.fromkeys(ids))


def _listed(ids: int | list[int] | None) -> Sequence[int]:
    if ids is None:
        return ()
    return (ids,) if isinstance(ids, int) else tuple(ids)


def _end_of_turn(tokenizer: Tokenizer, stops: tuple[int, ...]) -> int:
    """The stop token with which the chat template closes the assistant's turn; the first stop token where it does not.

    Tokenizers may name another one as `eos_token`: Gemma's is '<eos>', but its turns end with '<end_of_turn>'.
    """
    try:
        exchange = _rendered(tokenizer, _EXCHANGE, add_generation_prompt=False)
    except (TemplateError, ValueError) as error:
        raise ModelError(f"the tokenizer has no chat template that renders a user and an assistant: {error}") from None
    return next((token for token in reversed(exchange) if token in stops), stops[0])


def _rendered(tokenizer: Tokenizer, messages: Sequence[Mapping[str, str]], *, add_generation_prompt: bool) -> list[int]:
    encoded = tokenizer.apply_chat_template(
        [dict(message) for message in messages], add_generation_prompt=add_generation_prompt, return_dict=True
    )
    return list(cast("Mapping[str, Iterable[int]]", encoded)["input_ids"])
