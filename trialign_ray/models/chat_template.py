"""A chat template, known by what it writes: which roles it takes, and how it opens and closes the assistant's turn."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import cast

from jinja2 import TemplateError
from pydantic import JsonValue

from trialign_ray.config.game import REASONING_TAGS
from trialign_ray.errors import DataError, ModelError
from trialign_ray.models.base import Tokenizer

Messages = list[dict[str, str]]
_OWN = frozenset({"messages", "tools", "add_generation_prompt", "bos_token", "eos_token"})
"""What a template reads but no specification sets."""
_ANSWER = "Hello there"
_EXCHANGE = [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": _ANSWER}]


class ChatTemplate:
    """Renders chat messages with one tokenizer's template and arguments."""

    def __init__(self, tokenizer: Tokenizer, arguments: Mapping[str, JsonValue]) -> None:
        """Raises ModelError where the template does not read an argument, or renders no user and assistant."""
        self._tokenizer, self._arguments = tokenizer, dict(arguments)
        self._forms: dict[tuple[str, ...], Callable[[Messages], Messages]] = {}
        for name in arguments:
            if name in _OWN or not re.search(rf"\b{re.escape(name)}\b", str(tokenizer.chat_template)):
                raise ModelError(
                    f"the chat template reads no argument '{name}' of a specification, so setting it would change "
                    "nothing. Correct its name, or leave it out."
                )
        try:
            before = self._text(_EXCHANGE[:1], add_generation_prompt=True)
            whole = self._text(_EXCHANGE, add_generation_prompt=False)
        except (TemplateError, ValueError) as error:
            raise ModelError(
                f"the tokenizer has no chat template that renders a user and an assistant: {error}"
            ) from None
        if _ANSWER not in whole:
            raise ModelError("the chat template leaves out what the assistant says. Correct the template.")
        self.closing: str = whole.rpartition(_ANSWER)[2]
        """What stands behind the assistant's text."""
        self.opened: str = _left_open(before.rpartition(_EXCHANGE[0]["content"])[2])
        """The reasoning tag that the generation prompt opens and leaves open; '' where it opens none."""

    def prompt(self, messages: Sequence[Mapping[str, str]]) -> list[int]:
        """Token ids with the generation prompt; raises TemplateError, ValueError or DataError where it is refused."""
        plain = [dict(message) for message in messages]
        encoded = self._tokenizer.apply_chat_template(
            self._form(plain)(plain), add_generation_prompt=True, return_dict=True, **self._arguments
        )
        return list(cast("Mapping[str, Iterable[int]]", encoded)["input_ids"])

    def _form(self, messages: Messages) -> Callable[[Messages], Messages]:
        """The first of _FORMS in which the template shows every message; found once for each sequence of roles.

        Templates differ in what they do with a system message: most write it, Gemma's and older ones of Mistral
        refuse it, some leave it out without a word, and some take one but not several.
        """
        roles = tuple(message["role"] for message in messages)
        if roles not in self._forms:
            self._forms[roles] = self._found(roles)
        return self._forms[roles]

    def _found(self, roles: Sequence[str]) -> Callable[[Messages], Messages]:
        marked = [{"role": role, "content": f"message {at}."} for at, role in enumerate(roles)]
        fault: Exception | None = None
        for form in _FORMS:
            try:
                shown = self._text(form(marked), add_generation_prompt=True)
            except (TemplateError, ValueError) as error:
                fault = fault or error
                continue
            if all(message["content"] in shown for message in marked):
                return form
        raise fault or DataError(
            f"it leaves out one of the messages {list(roles)}, in whatever form they are given. Use other roles, or "
            "correct the template."
        )

    def _text(self, messages: Messages, *, add_generation_prompt: bool) -> str:
        return str(
            self._tokenizer.apply_chat_template(
                messages, add_generation_prompt=add_generation_prompt, tokenize=False, **self._arguments
            )
        )


def _as_given(messages: Messages) -> Messages:
    return messages


def _one_system(messages: Messages) -> Messages:
    """The leading system messages joined into one."""
    count = next((at for at, message in enumerate(messages) if message["role"] != "system"), len(messages))
    if count < 2:
        return messages
    joined = "\n\n".join(message["content"] for message in messages[:count])
    return [{"role": "system", "content": joined}, *messages[count:]]


def _folded(messages: Messages) -> Messages:
    """Every system message at the head of the user's turn that follows it."""
    waiting: list[str] = []
    kept: Messages = []
    for message in messages:
        if message["role"] == "system":
            waiting.append(message["content"])
        elif message["role"] == "user":
            kept.append(message | {"content": "\n\n".join([*waiting, message["content"]])})
            waiting = []
        else:
            kept.append(message)
    return kept


_FORMS = (_as_given, _one_system, _folded)


def _left_open(generation_prompt: str) -> str:
    for opening, closing in REASONING_TAGS.items():
        if opening in generation_prompt.rpartition(closing)[2]:
            return opening
    return ""
