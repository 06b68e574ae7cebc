"""What a cue is made from and what it gives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from trialign_ray.config.game import Question

Messages = list[dict[str, str]]


@dataclass(frozen=True, slots=True)
class Draft:
    """What a prompt has to say before it is put into messages."""

    group: str
    system: tuple[str, ...]
    """The group set's system message, and the group's persona where it has one."""
    wish: tuple[str, ...]
    """How the drawn preference is stated or implied; empty where there is none."""
    question: Question


class Cue(Protocol):
    """Puts a draft into chat messages that end with the user's question; the same draft gives the same messages."""

    def __call__(self, draft: Draft, /) -> Messages:
        """The deployment prompt; raises DataError where the question lacks what the cue needs."""
        ...


def message(role: str, *parts: str, by: str = " ") -> dict[str, str]:
    """One chat message whose text is the parts, joined."""
    return {"role": role, "content": by.join(parts)}
