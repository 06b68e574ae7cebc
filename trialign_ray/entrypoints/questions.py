"""`trialign questions --prompts`: all that an audit asks, as the input of an OpenAI batch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Literal

from pydantic import JsonValue

from trialign_ray.config.game import Split, asked_questions, load_game
from trialign_ray.data.openai_batch import request_line
from trialign_ray.entrypoints.audit.batch_file import outcome_of, refuse_changed
from trialign_ray.envs.talk import first_asks
from trialign_ray.errors import DataError
from trialign_ray.inference.base import Sampling
from trialign_ray.inference.endpoint import chat_body
from trialign_ray.io.storage import atomic_file, locate, writing


def write_prompts(
    target: str,
    questions: str,
    groups: str,
    model: str,
    sampling: Sampling,
    *,
    split: Split | Literal["all"] = "heldout",
    seed: int = 0,
    body: Mapping[str, JsonValue] | None = None,
    unanswered: str | None = None,
    overwrite: bool = False,
) -> int:
    """Write the requests, one a line, and give their number.

    `body` are fields of every request besides ours, `unanswered` the output of an earlier batch, whose answers are not
    asked for again. Raises SpecError, and DataError where there is nothing to ask, `target` exists, or what was
    answered was asked in other words.
    """
    question_set, group_set = load_game(questions, groups)
    asked = asked_questions(question_set, split, questions)
    asks = {ask.key: ask for ask in first_asks(asked, group_set, sampling.samples, seed)}
    there = outcome_of(unanswered).replies if unanswered is not None else {}
    refuse_changed(unanswered or "", there, asks)
    lines = [
        request_line(key, chat_body(model, ask.messages, sampling, ask.seed, body or {}))
        for key, ask in asks.items()
        if key not in there
    ]
    location = locate(target)
    if not lines:
        raise DataError(f"{unanswered}: answers all. Audit it: trialign audit --answers {unanswered}")
    if location.exists() and not overwrite:
        raise DataError(f"{location.uri}: exists already. Name another file, or give --overwrite.")
    with writing(location.uri), atomic_file(location) as file:
        for line in lines:
            file.write(json.dumps(line, ensure_ascii=False).encode() + b"\n")
    return len(lines)
