"""Chat messages and responses as the token ids that the policy sees, and back."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from jinja2 import TemplateError
from pydantic import JsonValue

from trialign_ray.config.game import REASONING_TAGS
from trialign_ray.errors import DataError, ModelError
from trialign_ray.models.base import StopTokens, Tokenizer
from trialign_ray.models.chat_template import ChatTemplate

_END_OF_TEXT = "<|endoftext|>"


class ChatTokens:
    """A tokenizer seen through its chat template; implements `Tokenize` of the importers of logs."""

    def __init__(
        self,
        tokenizer: Tokenizer,
        generation_config: StopTokens | None = None,
        template_arguments: Mapping[str, JsonValue] | None = None,
    ) -> None:
        """`generation_config` is the model's, for the stop tokens that neither tokenizer nor template name.

        `template_arguments` are handed to the chat template, 'enable_thinking' for instance. Raises ModelError where
        turns have no end, there is no chat template that can render them, or it does not read an argument.
        """
        self._tokenizer = tokenizer
        stops = stop_ids(tokenizer, generation_config)
        self._template = ChatTemplate(tokenizer, template_arguments or {})
        self.opened: str = self._template.opened
        """The reasoning tag that every prompt opens and leaves open; '' where none does."""
        self.end_of_turn: int = _end_of_turn(tokenizer, self._template.closing, stops)
        self.stop_ids: tuple[int, ...] = tuple(dict.fromkeys((*stops, self.end_of_turn)))
        self.vocabulary: int = len(tokenizer)
        special = {token: str(name) for token, name in tokenizer.added_tokens_decoder.items() if name.special}
        self._control = re.compile("|".join(map(re.escape, special.values())) or "(?!)")
        tags = " ".join([*REASONING_TAGS, *REASONING_TAGS.values()])
        self._reasoning = {token: name for token, name in special.items() if name in tags}

    def prompt(self, messages: Sequence[Mapping[str, str]]) -> list[int]:
        """Token ids of chat messages, generation prompt included.

        A system message that the template refuses or leaves out stands at the head of the user's turn. Raises DataError
        where the template refuses the messages, or where one holds a control token: text that becomes one would end a
        turn or begin another.
        """
        for message in messages:
            if found := self._control.search(message["content"]):
                raise DataError(
                    f"a message of role '{message['role']}' holds '{found.group()}', which the tokenizer reads as a "
                    "control token and not as text. Remove or rewrite it."
                )
        try:
            return self._template.prompt(messages)
        except (TemplateError, ValueError, DataError) as error:
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
        """The text of a response, without the tokens that end a turn and the white space around it.

        Tags of reasoning stay, also where they are control tokens; a block that the prompt has opened begins with its
        tag, so that an answer is never read out of reasoning that was cut off.
        """
        parts, run = [self.opened], list[int]()
        for token in ids:
            if token in self._reasoning:
                parts += [self._text(run), self._reasoning[token]]
                run = []
            elif token not in self.stop_ids:
                run.append(token)
        return "".join([*parts, self._text(run)]).strip()

    def _text(self, ids: list[int]) -> str:
        return str(self._tokenizer.decode(ids, skip_special_tokens=True))


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


def _end_of_turn(tokenizer: Tokenizer, closing: str, stops: tuple[int, ...]) -> int:
    """The first token that the chat template writes behind the assistant's text: a model learns to end with it.

    Tokenizers may name another one as `eos_token`: Gemma's is '<eos>', but its turns end with '<end_of_turn>'; and
    others may follow it, as '<|endoftext|>' does in Phi's. A template that writes nothing there leaves the end to the
    tokenizer. Raises ModelError where it writes text that is no token: generation would run past it.
    """
    if not closing.strip():
        return stops[0]
    named = tokenizer.get_added_vocab() | {str(tokenizer.convert_ids_to_tokens(stop)): stop for stop in stops}
    first = max((name for name in named if closing.strip().startswith(name)), key=len, default="")
    if not first:
        raise ModelError(
            f"the chat template ends the assistant's turn with {closing.strip()!r}, which is no token of its "
            "own, so a response would not end there. Add it to the tokenizer's special tokens, or correct the template."
        )
    return named[first]
