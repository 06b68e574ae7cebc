"""How long work tells of itself, without a terminal in sight."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """One task at a time: `begin`, some `advance`, `end`."""

    def begin(self, label: str, total: int) -> None:
        """A task of `total` units starts."""
        ...

    def advance(self, n: int = 1) -> None:
        """`n` units are done."""
        ...

    def end(self) -> None:
        """The task is over."""
        ...

    def note(self, text: str) -> None:
        """A line that stays."""
        ...


class Silent:
    """Says nothing."""

    def begin(self, label: str, total: int) -> None:
        """Nothing."""

    def advance(self, n: int = 1) -> None:
        """Nothing."""

    def end(self) -> None:
        """Nothing."""

    def note(self, text: str) -> None:
        """Nothing."""
