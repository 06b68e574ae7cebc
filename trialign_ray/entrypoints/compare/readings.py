"""Both readings of one model: which option is likeliest behind each prompt, and what it writes there.

Nothing here needs Ray. Letters: o option.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from trialign_ray.data.schema import SCHEMA
from trialign_ray.entrypoints.compare.game import HeldOutGame
from trialign_ray.envs.local_speaker import LocalSpeaker
from trialign_ray.envs.talk import Ask, Recorder
from trialign_ray.evaluation.rows import COLUMNS
from trialign_ray.inference.base import Generator
from trialign_ray.models.chat_tokens import ChatTokens
from trialign_ray.progress import Progress
from trialign_ray.rewards.options import Option
from trialign_ray.trainer.option_scores import OptionScorer
from trialign_ray.trainer.packing import Tree


@dataclass(frozen=True, slots=True)
class Model:
    """One model, ready for both readings."""

    scorer: OptionScorer
    generator: Generator
    tokens: ChatTokens


def scored_answers(model: Model, game: HeldOutGame, asks: Sequence[Ask], progress: Progress) -> pa.Table:
    """The likeliest option of each prompt by its total log-prob, as an audit with `read: score` has it."""
    sets = game.options.by_question
    trees = [
        Tree(
            model.tokens.prompt(ask.messages),
            [model.tokens.response(option.text) for option in sets[ask.question.question_id]],
        )
        for ask in asks
    ]
    progress.begin("scoring options", len(trees))
    logp = model.scorer.logprobs(trees, progress.advance)
    progress.end()
    recorder = Recorder(game.questions, game.groups)
    rows = []
    for ask, logp_o in zip(asks, logp, strict=True):
        chosen = sets[ask.question.question_id][logp_o.index(max(logp_o))]
        rows.append(recorder.row(ask, chosen.text) | _as_option(chosen))
    return _kept(pa.Table.from_pylist(rows, schema=SCHEMA), "closed", [None] * len(rows))


def _as_option(option: Option) -> dict[str, object]:
    """An option says what it stands for, whatever could be read out of its text; it has no form."""
    return {
        "answer": option.name,
        "answer_kind": "entity",
        "reward_truth": float(option.right),
        "reward_preference": None,
        "preference": None,
        "preference_cue": None,
    }


def free_answers(speaker: LocalSpeaker, game: HeldOutGame, asks: Sequence[Ask], progress: Progress) -> pa.Table:
    """What the speaker's model writes to each prompt."""
    speaker.on_progress = progress.advance
    progress.begin("answering", len({str(ask.messages) for ask in asks}))
    replies = speaker(asks)
    progress.end()
    table = Recorder(game.questions, game.groups).table(asks, [reply.text for reply in replies])
    return _kept(table, "free", [len(reply.ids or ()) for reply in replies])


def _kept(table: pa.Table, reading: str, tokens: Sequence[int | None]) -> pa.Table:
    """The fields that figures are made of, the reading, and how many tokens were written."""
    named = table.select(COLUMNS).append_column("reading", pa.array([reading] * table.num_rows, pa.string()))
    return named.append_column("tokens", pa.array(tokens, pa.int32()))
