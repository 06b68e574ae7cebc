"""What a protocol is: which words an agent gets before it answers again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from trialign_ray.config.protocols import PROTOCOLS
from trialign_ray.config.seams import load_object
from trialign_ray.envs.cues.base import Messages, message
from trialign_ray.errors import SpecError


@dataclass(frozen=True, slots=True)
class Said:
    """One group's response of a turn, as others may be told of it."""

    text: str
    """Without its reasoning."""
    answer: str | None
    """Its canonical answer; None where none was read."""


@dataclass(frozen=True, slots=True)
class Shown:
    """What an agent is told before a later turn."""

    request: str
    """The user's message, which asks the question once more."""
    peers: tuple[tuple[str, str], ...] = ()
    """For the logs: group -> what the request shows of its response."""


class TurnProtocol(Protocol):
    """Says what an agent is told; the same words for the same responses, and groups are never named."""

    elsewhere: bool
    """Whether the responses that it shows are those to another question."""

    def __call__(self, question: str, group: str, said: Mapping[str, Said], /) -> Shown:
        """What `group` is told before it answers `question` (the last message of its deployment prompt) again.

        said: each group's response of the turn before, the group's own among them, to this question or, with
        `elsewhere`, to another one.
        """
        ...


def load_protocol(name: str) -> TurnProtocol:
    """The protocol of that name; raises SpecError for an unknown one."""
    if name not in PROTOCOLS:
        raise SpecError(f"'{name}' is no protocol. Choose one of {', '.join(PROTOCOLS)}.")
    protocol: TurnProtocol = load_object(PROTOCOLS[name].import_path)()
    return protocol


def later_turn(
    protocol: TurnProtocol, first: Messages, group: str, own: Said, said: Mapping[str, Said]
) -> tuple[Messages, list[dict[str, str]]]:
    """The prompt of a turn after the first, and what it shows of the peers as the logs have it.

    It holds the deployment prompt, the group's own last response and the protocol's request, never older turns, so
    that prompts do not grow with the turns.
    """
    shown = protocol(first[-1]["content"], group, said)
    messages = [*first, message("assistant", own.text), message("user", shown.request)]
    return messages, [{"group": name, "response": text} for name, text in shown.peers]


def others(group: str, said: Mapping[str, Said]) -> tuple[tuple[str, str], ...]:
    """Each other group, in order, and its response."""
    return tuple((name, one.text) for name, one in said.items() if name != group)


def listed(peers: Sequence[tuple[str, str]]) -> str:
    """The responses of `peers`, a line each; whose they are must not matter, so nobody is named."""
    return "\n".join(f"- {response}" for _, response in peers)
