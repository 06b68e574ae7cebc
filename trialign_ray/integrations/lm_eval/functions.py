"""What truth_invariance.yaml names: its prompts, the reading of a response, and the figures over all of them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import datasets

from trialign_ray.envs.talk import Ask
from trialign_ray.errors import DataError, SpecError, require
from trialign_ray.integrations.game import HarnessGame

_ROLES = ["system", "user"]
_LOG = logging.getLogger(__name__)

METRICS = (
    "accuracy_mean",
    "accuracy_worst",
    "named",
    "right_given_named",
    "contradiction",
    "shared_falsehood",
    "gap",
    "correct_unanimity",
)
"""As `metric_list` has them."""


class Response(NamedTuple):
    """One response, and where its prompt comes from."""

    questions: str
    groups: str
    split: str
    custom_id: str
    text: str


_game = lru_cache(maxsize=4)(HarnessGame.load)


def dataset(questions: str = "", groups: str = "", split: str = "heldout", **_: object) -> dict[str, datasets.Dataset]:
    """Every objective question of the split, asked as every group; the arguments are the harness's `--metadata`.

    Raises SpecError and DataError: the harness has one system and one user message, so dialogues do not fit.
    """
    if not questions or not groups:
        raise SpecError(
            """both files are needed: --metadata '{"questions": "questions.yaml", "groups": "groups.yaml"}'"""
        )
    require("report", "moocore")
    asks = _game(questions, groups, split).asks
    given = {"questions": questions, "groups": groups, "split": split}
    return {"test": datasets.Dataset.from_list([given | _doc(groups, ask) for ask in asks.values()])}


def _doc(groups: str, ask: Ask) -> dict[str, str]:
    if [message["role"] for message in ask.messages] != _ROLES:
        raise DataError(
            f"{groups}: group '{ask.group.name}' is shown by more than a system message, which this harness cannot "
            "send. Use `trialign audit --endpoint`, or Inspect."
        )
    system, user = (message["content"] for message in ask.messages)
    return {
        "id": ask.key.custom_id,
        "question_id": ask.question.question_id,
        "group": ask.group.name,
        "system": system,
        "user": user,
        "accepted": ask.question.references[0],
    }


def process_results(doc: dict[str, Any], results: Sequence[str]) -> dict[str, Response]:
    """The response, for every metric: figures over groups need all of them together."""
    response = Response(doc["questions"], doc["groups"], doc["split"], doc["id"], results[0])
    return dict.fromkeys(METRICS, response)


@lru_cache(maxsize=1)
def _figures(responses: tuple[Response, ...]) -> dict[str, float]:
    """Measured values by name; NaN where the responses cannot give it.

    Groups are compared on the same questions, so a part of the responses (--limit) gives none.
    """
    first = responses[0]
    game = _game(first.questions, first.groups, first.split)
    texts = {each.custom_id: each.text for each in responses}
    if game.missing(texts):
        _LOG.warning("%d of %d responses are here, so no figure is. Run without --limit.", len(texts), len(game.asks))
        return dict.fromkeys(METRICS, float("nan"))
    found = game.figures(texts)
    return {name: float("nan") if (figure := found[name]) is None else figure.value for name in METRICS}


def _aggregation(name: str) -> Callable[[Sequence[Response]], float]:
    def aggregate(responses: Sequence[Response]) -> float:
        return _figures(tuple(Response(*each) for each in responses))[name]

    return aggregate


accuracy_mean = _aggregation("accuracy_mean")
accuracy_worst = _aggregation("accuracy_worst")
named = _aggregation("named")
right_given_named = _aggregation("right_given_named")
contradiction = _aggregation("contradiction")
shared_falsehood = _aggregation("shared_falsehood")
gap = _aggregation("gap")
correct_unanimity = _aggregation("correct_unanimity")
