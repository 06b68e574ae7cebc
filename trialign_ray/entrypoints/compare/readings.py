"""The readings of one model: which option is likeliest behind each prompt, and what it writes there.

Nothing here needs Ray. Letters: o option.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from trialign_ray.config.game import Question
from trialign_ray.data.schema import SCHEMA
from trialign_ray.entrypoints.compare.game import HeldOutGame
from trialign_ray.envs.local_speaker import LocalSpeaker
from trialign_ray.envs.references.base import ask_of
from trialign_ray.envs.rows import Row
from trialign_ray.envs.talk import Ask, Recorder
from trialign_ray.evaluation.rows import COLUMNS
from trialign_ray.inference.base import Generator
from trialign_ray.models.chat_tokens import ChatTokens
from trialign_ray.progress import Progress
from trialign_ray.rewards.options import Option
from trialign_ray.trainer.option_scores import OptionScorer
from trialign_ray.trainer.packing import Tree

_NOTHING = "N/A"


@dataclass(frozen=True, slots=True)
class Model:
    """One model, ready for all readings."""

    scorer: OptionScorer
    generator: Generator
    tokens: ChatTokens


def scored_answers(model: Model, game: HeldOutGame, asks: Sequence[Ask], progress: Progress) -> pa.Table:
    """The likeliest option of each prompt, in two readings.

    'closed' goes by the total log-prob, as an audit with `read: score` does. 'calibrated' goes by the total log-prob
    less that behind a prompt without content (Zhao et al. 2021, arXiv 2102.09690): a name that is common or short is
    likelier whatever is asked, and training may change that alone.
    """
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
    prior = _priors(model, game)
    recorder, rows = Recorder(game.questions, game.groups), dict[str, list[Row]](closed=[], calibrated=[])
    for ask, logp_o in zip(asks, logp, strict=True):
        options = sets[ask.question.question_id]
        beyond_o = [total - prior[option.text] for total, option in zip(logp_o, options, strict=True)]
        for reading, score_o in (("closed", logp_o), ("calibrated", beyond_o)):
            chosen = options[score_o.index(max(score_o))]
            rows[reading].append(recorder.row(ask, chosen.text) | _as_option(chosen))
    tables = {reading: pa.Table.from_pylist(found, schema=SCHEMA) for reading, found in rows.items()}
    return pa.concat_tables(_kept(table, reading, [None] * len(table)) for reading, table in tables.items())


def _priors(model: Model, game: HeldOutGame) -> dict[str, float]:
    """Log-prob of every option's text where the control asks nothing."""
    texts = sorted({option.text for options in game.options.by_question.values() for option in options})
    nothing = Question(question_id="nothing", text=_NOTHING, kind="subjective")
    prompt = model.tokens.prompt(ask_of(game.groups, game.groups.groups[0], nothing).messages)
    (logp_o,) = model.scorer.logprobs([Tree(prompt, [model.tokens.response(text) for text in texts])])
    return dict(zip(texts, logp_o, strict=True))


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
