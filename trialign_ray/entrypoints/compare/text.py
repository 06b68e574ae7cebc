"""What training did to the model's language: mean log-prob of a token of a text that nobody trained on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from trialign_ray.data.dataset import read_logs
from trialign_ray.entrypoints.compare.readings import Model
from trialign_ray.errors import DataError, naming
from trialign_ray.io.storage import locate, reading
from trialign_ray.trainer.packing import Tree

_WINDOW = 256
"""Tokens of a plain text that are scored behind one another."""
_MOST = 400
"""Windows or responses that are scored, evenly from the first to the last."""


def text_logprob(model: Model, path: str) -> tuple[float, int]:
    """Mean log-prob of a token in nats, and the number of tokens. Its negative's exponential is the perplexity.

    path: a log dataset, whose responses are scored behind their prompts, or a plain text file. Raises DataError.
    """
    with naming("evaluation.text"):
        # Rows lie group by group: the first ones would be those of one group.
        trees = evenly(list(_trees(model, path)))
        if not trees:
            raise DataError(f"{path}: has no text to score. Give a file with text, or a dataset with responses.")
    total = sum(sum(logp) for logp in model.scorer.logprobs(trees))
    tokens = sum(len(response) for tree in trees for response in tree.responses)
    return total / tokens, tokens


def evenly(trees: Sequence[Tree]) -> list[Tree]:
    """As many of them as are scored, in their order."""
    kept = min(_MOST, len(trees))
    return [trees[place * len(trees) // kept] for place in range(kept)]


def _trees(model: Model, path: str) -> Iterator[Tree]:
    location = locate(path)
    if location.is_folder():
        rows = read_logs(location, columns=["prompt_ids", "response_ids"]).to_pylist()
        yield from (Tree(row["prompt_ids"], [row["response_ids"]]) for row in rows if row["response_ids"])
        return
    with reading(location.uri), location.filesystem.open_input_stream(location.path) as stream:
        text = bytes(stream.read()).decode("utf-8")
    ids = model.tokens.response(text)[:-1]
    for start in range(0, len(ids) - 1, _WINDOW):
        window = ids[start : start + _WINDOW]
        if len(window) > 1:
            yield Tree(window[:1], [window[1:]])
