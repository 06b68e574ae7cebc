"""Work that a confined process is given: most of it breaks a limit."""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path

from trialign_ray.errors import DataError, RowError, RowProblem, SpecError
from trialign_ray.io.storage import writing


def fine(number: int) -> dict[str, int]:
    return {"number": number}


def hog() -> int:
    return len([bytearray(1 << 26) for _ in range(10_000)])


def spin() -> None:
    while True:
        pass


def hang(folder: Path) -> None:
    (folder / str(os.getpid())).touch()
    time.sleep(3600)


def deep() -> int:
    return deep() + 1


def crash() -> None:
    os.abort()


def talkative() -> str:
    return "x" * (8 << 20)


def bad() -> None:
    error = SpecError("is wrong \ud800. Mend it.")
    error.field = "groups"
    raise error


def bad_row() -> None:
    raise RowError([RowProblem("logs.jsonl", 7, "turn", "is 0")], "Fix it.")


def fill(file: Path) -> None:
    try:
        file.write_bytes(b"x" * (2 << 20))
    except OSError as error:
        raise DataError(str(error)) from None


def full() -> None:
    """As a disk that is full comes out of the library."""
    with writing("logs"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def together(folder: Path, wanted: int) -> int:
    """How many of these run at once, as seen when `wanted` have begun."""
    mine = folder / f"{os.getpid()}.begun"
    mine.touch()
    while len([*folder.iterdir()]) < wanted:
        time.sleep(0.01)
    running = len([*folder.glob("*.begun")])
    mine.rename(mine.with_suffix(".ended"))
    return running
