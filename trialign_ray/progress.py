"""How long work reports its progress, whoever shows it."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Progress of one task at a time: `begin`, any number of `advance`, `end`."""

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
        """Show a line of text."""
        ...


class Silent:
    """Reports nothing."""

    def begin(self, label: str, total: int) -> None:
        """Nothing."""

    def advance(self, n: int = 1) -> None:
        """Nothing."""

    def end(self) -> None:
        """Nothing."""

    def note(self, text: str) -> None:
        """Nothing."""
