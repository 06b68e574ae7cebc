"""Writes the table of docs/engines.md from what engines promise: `python -m docs.engines`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import astuple
from pathlib import Path

from trialign_ray.config.endpoint import EndpointSpec, RecordedEndpointSpec
from trialign_ray.config.generators import GENERATORS, Promises, promises_of

PAGE = Path(__file__).with_name("engines.md")
_HEAD = "| who answers | token ids | log-probs | what decides a draw | adapter | runs in |"
_WORDS: dict[bool | str, str] = {
    True: "as sampled",
    False: "of the text, by the tokenizer",
    "response": "the response's own seed",
    "batch": "the seeds of its batch",
    "asked": "the server, which is told a seed",
    "merged": "merged",
    "row": "by row",
    "served": "the server's",
    "process": "the process or Ray worker",
    "cluster": "Ray actors of its own",
    "server": "the server",
}
_TABLE = re.compile(re.escape(_HEAD) + r"\n(?:\|.*\n)+")


def table() -> str:
    """Engines in the order of their dict, then the two ways of asking a server."""
    return "\n".join([_HEAD, "|---" * 6 + "|", *map(_line, *zip(*_sources(), strict=True))]) + "\n"


def written(page: str) -> str:
    """The page with the table as it is by the code."""
    return _TABLE.sub(lambda _: table(), page)


def _sources() -> Iterator[tuple[str, Promises]]:
    for name, entry in GENERATORS.items():
        yield f"`generator: {{name: {name}}}`", promises_of(entry.spec())
    server = {"url": "http://server/v1", "model": "m"}
    yield "`endpoint`", EndpointSpec.model_validate(server).promises
    yield (
        "`endpoint` with `logprobs: raw` or `processed`, of `collect`",
        RecordedEndpointSpec.model_validate({**server, "logprobs": "raw"}).promises,
    )


def _line(who: str, promises: Promises) -> str:
    ids, logprobs, *others = astuple(promises)
    cells = [_WORDS[ids], "yes" if logprobs else "no", *(_WORDS[value] for value in others)]
    return f"| {who} | {' | '.join(cells)} |"


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
