"""An assistant that is asked in text plays the same game as a model that is asked in tokens."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.world import World
from trialign_ray.config.base import load_yaml
from trialign_ray.config.game import GroupSet, QuestionSet
from trialign_ray.config.protocols import PROTOCOLS
from trialign_ray.data.chat_replies import ChatReply
from trialign_ray.envs.game_config import game_config
from trialign_ray.envs.rollout import Rollout, roll_out
from trialign_ray.envs.talk import Ask, Recorder, Talk, converse, first_asks
from trialign_ray.errors import DataError
from trialign_ray.inference.base import Sampling
from trialign_ray.inference.transformers import TransformersEngine

TOKEN_FIELDS = ("prompt_ids", "response_ids", "behaviour_logprobs", "model_hash", "seed")
"""What text cannot tell, and the seeds, which servers want smaller."""


@pytest.fixture(scope="module")
def game(world: World) -> tuple[QuestionSet, GroupSet]:
    return load_yaml(QuestionSet, world.questions), load_yaml(GroupSet, world.groups)


@pytest.mark.parametrize("protocol", [name for name, entry in PROTOCOLS.items() if entry.most > 1])
def test_rows_are_those_of_a_rollout_whose_responses_are_the_same(
    world: World, game: tuple[QuestionSet, GroupSet], protocol: str
) -> None:
    questions, groups = game
    config = game_config(questions, groups, world.model, 2, 6, protocol=protocol)
    generator = TransformersEngine(rows=64).load(Path(world.model), None, "float32", "cpu")
    plan = Rollout(config, Sampling(6, 0.9, 2), questions_per_batch=99)
    (table,) = roll_out(generator, plan, questions.split("train"))
    key = ("turn", "question_id", "group", "sample")
    rolled = {tuple(row[name] for name in key): row for row in table.to_pylist()}

    def say_the_same(asks: Sequence[Ask]) -> list[ChatReply]:
        said = [rolled[ask.turn, ask.question.question_id, ask.group.name, ask.sample]["response"] for ask in asks]
        return [ChatReply(text, "stop", "m") for text in said]

    recorder, told = Recorder(questions, groups, protocol), []
    first = first_asks(plan.batches(questions.split("train"))[0], groups, 2, 0)
    for turn in converse(say_the_same, first, Talk(protocol, 2, 0, recorder.said)):
        told += turn
    assert len(told) == len(rolled) == 4 * 3 * 2 * 2
    for one in told:
        row = recorder.row(one.ask, one.reply.text)
        row["peers"] = list(one.peers)
        other = rolled[tuple(row[name] for name in key)]
        assert {name: row[name] for name in row if name not in TOKEN_FIELDS} == {
            name: other[name] for name in other if name not in TOKEN_FIELDS
        }


def test_a_seed_depends_on_what_it_is_for_alone(game: tuple[QuestionSet, GroupSet]) -> None:
    questions, groups = game
    every = first_asks(questions.questions, groups, 3, 0)
    seeds = [ask.seed for ask in every]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= seed < 2**31 for seed in seeds)
    fewer = first_asks(questions.questions[2:3], groups, 2, 0)
    assert {ask.seed for ask in fewer} <= set(seeds)
    assert not {ask.seed for ask in first_asks(questions.questions, groups, 3, 1)} & set(seeds)


def test_two_groups_that_ask_in_the_same_words_are_refused(game: tuple[QuestionSet, GroupSet]) -> None:
    questions, groups = game
    twin = groups.groups[1].model_copy(update={"name": "twin"})
    same = groups.model_copy(update={"groups": (*groups.groups, twin), "preferences": ()})
    with pytest.raises(DataError, match="groups 'farmer' and 'twin' get the same prompt"):
        first_asks(questions.questions, same, 1, 0)
