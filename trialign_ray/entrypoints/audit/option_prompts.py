"""Options behind prompts, and the scores of a batch of them. Nothing here needs Ray."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from trialign_ray.config.game import Group, Question
from trialign_ray.envs.prompts import Messages
from trialign_ray.errors import naming
from trialign_ray.io.cache import local_folder
from trialign_ray.progress import Progress
from trialign_ray.rewards.options import Option
from trialign_ray.trainer.option_scores import OptionScorer, load_scorer
from trialign_ray.trainer.packing import Tree

SCORES = pa.schema(
    [
        ("question_id", pa.string()),
        ("group", pa.string()),
        ("option", pa.string()),
        ("right", pa.bool_()),
        ("logprob", pa.float64()),
        ("tokens", pa.int64()),
    ]
)
"""One row for each option behind each prompt: its log-prob in nats, and how many tokens share it."""


@dataclass(frozen=True, slots=True)
class AskedOptions:
    """One group's prompt for one question, and its options as token ids, end of turn included."""

    question: Question
    group: Group
    messages: Messages
    tree: Tree
    options: tuple[Option, ...]


Batch = Sequence[AskedOptions]


@dataclass(frozen=True, slots=True)
class ScorerLoading:
    """Which model scores, and where."""

    model: str
    adapter: str | None
    dtype: str
    device: str

    def scorer(self) -> OptionScorer:
        """The loaded model, fetched to this machine first; raises ModelError, which names the field."""
        with naming("model"):
            model = local_folder(self.model)
        with naming("adapter"):
            adapter = None if self.adapter is None else local_folder(self.adapter)
        with naming("model" if adapter is None else "adapter"):
            return load_scorer(model, adapter, self.dtype, self.device)


Way = Callable[[ScorerLoading, Mapping[int, Batch], Progress], Iterator[tuple[int, pa.Table]]]
"""Scores batches, of which there is one at least: each batch's rows of `SCORES` with its number, as they are finished.
"""


def score_here(
    loading: ScorerLoading, batches: Mapping[int, Batch], progress: Progress
) -> Iterator[tuple[int, pa.Table]]:
    """A `Way`: one batch after the other in this process. Raises ModelError."""
    scorer = loading.scorer()
    for index, batch in batches.items():
        yield index, scores_of(scorer, batch, progress.advance)


def scores_of(scorer: OptionScorer, batch: Batch, on_progress: Callable[[int], None] | None = None) -> pa.Table:
    """Rows of `SCORES`, prompt by prompt. `on_progress` is called with the number of prompts done since. Raises
    ModelError, as `OptionScorer.logprobs` does.
    """
    logp = scorer.logprobs([each.tree for each in batch], on_progress)
    rows = [
        {
            "question_id": each.question.question_id,
            "group": each.group.name,
            "option": option.text,
            "right": option.right,
            "logprob": total,
            "tokens": len(response),
        }
        for each, logp_o in zip(batch, logp, strict=True)
        for option, total, response in zip(each.options, logp_o, each.tree.responses, strict=True)
    ]
    return pa.Table.from_pylist(rows, schema=SCORES)
