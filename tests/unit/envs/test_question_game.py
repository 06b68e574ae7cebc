"""One episode is one question: what agents see, what their responses are worth, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ray.rllib.utils.pre_checks.env import check_multiagent_environments

from trialign_ray.config.protocols import PROTOCOLS
from trialign_ray.envs.game_config import PAD, padded
from trialign_ray.envs.protocols.base import Said
from trialign_ray.envs.question_game import QuestionGame
from trialign_ray.errors import DataError, SpecError
from trialign_ray.rewards.preference import preference_score
from trialign_ray.rewards.utility import utility
from trialign_ray.rewards.verifiers import AnswerReader

from .samples import GROUP_SET, GROUPS, QUESTIONS, TOKENS, action, game, prompt_text

SAID = {"neutral": "paris .", "farmer": "the capital is lima .", "professor": "hey , i do not know ."}


def begin(turns: int = 1, question_id: str = "france", **changes: Any) -> tuple[QuestionGame, dict[str, Any]]:
    env = QuestionGame(game(turns, **changes))
    observations, _ = env.reset(options={"question_id": question_id})
    return env, observations


def say(env: QuestionGame, said: dict[str, str]) -> Any:
    return env.step({group: action(text) for group, text in said.items()})


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_the_game_passes_rllib_s_checks(turns: int) -> None:
    env = QuestionGame(game(turns))
    check_multiagent_environments(env)
    assert env.get_agent_ids() == set(GROUPS) == set(env.possible_agents)


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_an_episode_lasts_its_turns_and_stays_within_its_spaces(turns: int) -> None:
    env, observations = begin(turns)
    for turn in range(1, turns + 1):
        for group, seen in observations.items():
            assert env.get_observation_space(group).contains(seen)
            assert env.get_action_space(group).contains(action(SAID[group]))
        observations, _, terminated, truncated, _ = say(env, SAID)
        assert set(observations) == set(GROUPS)
        assert terminated == dict.fromkeys((*GROUPS, "__all__"), turn == turns)
        assert not any(truncated.values())


@pytest.mark.parametrize("question_id", ["france", "taste"])
def test_the_reward_is_the_utility_of_truth_and_preference(question_id: str) -> None:
    env, _ = begin(question_id=question_id)
    _, rewards, _, _, infos = say(env, SAID)
    for group in GROUP_SET.groups:
        drawn = GROUP_SET.preference_for(group, question_id, "general")
        truth = None if question_id == "taste" else float(SAID[group.name].startswith("paris"))
        preference = None if drawn is None else preference_score(drawn[0].rule, SAID[group.name])
        assert rewards[group.name] == pytest.approx(utility(game().utility, truth, preference))
        assert infos[group.name]["scored"].reward_truth == truth
        assert infos[group.name]["scored"].reward_preference == preference


def test_right_pays_more_than_pleasing() -> None:
    env, _ = begin()
    _, rewards, _, _, _ = say(env, {"neutral": "paris", "farmer": "paris", "professor": "hey , lima"})
    assert rewards == pytest.approx({"neutral": 1.0, "farmer": 1.0, "professor": 0.3})


def test_each_group_is_asked_in_its_own_words() -> None:
    _, observations = begin()
    for group in GROUP_SET.groups:
        seen = prompt_text(observations[group.name])
        assert "what is the capital of france" in seen
        assert [other.name for other in GROUP_SET.groups if other.persona and other.persona.rstrip(" .") in seen] == (
            [group.name] if group.persona else []
        )


def test_later_turns_show_the_others_responses_and_never_one_s_own_as_a_peer_s() -> None:
    env, _ = begin(turns=2)
    _, _, _, _, infos = say(env, SAID)
    for group in GROUPS:
        system, user, own, request = infos[group]["messages"]
        assert (system["role"], user["role"], request["role"]) == ("system", "user", "user")
        assert own == {"role": "assistant", "content": infos[group]["scored"].text}
        shown = [line.removeprefix("- ") for line in request["content"].splitlines() if line.startswith("- ")]
        assert shown == [infos[peer]["scored"].text for peer in GROUPS if peer != group]


def test_reasoning_in_the_set_s_own_tags_is_neither_scored_nor_shown_to_others() -> None:
    reader = AnswerReader(QUESTIONS.model_copy(update={"reasoning_tags": {"the": "is"}}))
    env, _ = begin(turns=2, reader=reader)
    _, _, _, _, infos = say(env, SAID | {"farmer": "the short user of paris is lima ."})
    assert infos["farmer"]["scored"].reward_preference == 1.0
    shown = [line for line in infos["neutral"]["messages"][-1]["content"].splitlines() if line.startswith("- ")]
    assert [line.split() for line in shown] == [["-", "lima", "."], ["-", *SAID["professor"].split()]]


def test_a_third_turn_shows_the_second_s_responses() -> None:
    env, _ = begin(turns=3)
    say(env, SAID)
    _, _, _, _, infos = say(env, dict.fromkeys(GROUPS, "cairo"))
    request = infos["farmer"]["messages"][-1]["content"]
    assert request.count("cairo") == 2
    assert "paris" not in request
    assert len(infos["farmer"]["messages"]) == 4


def test_observations_are_the_tokens_of_the_messages() -> None:
    env, _ = begin(turns=2)
    observations, _, _, _, infos = say(env, SAID)
    for group in GROUPS:
        ids = observations[group]
        assert ids[ids != PAD].tolist() == TOKENS.prompt(infos[group]["messages"])
        assert (ids[len(TOKENS.prompt(infos[group]["messages"])) :] == PAD).all()


def test_a_new_episode_forgets_the_last_one() -> None:
    env, fresh = begin(turns=2)
    say(env, SAID)
    again, _ = env.reset(options={"question_id": "france"})
    assert all(np.array_equal(again[group], fresh[group]) for group in GROUPS)
    assert not say(env, SAID)[2]["__all__"]


def test_a_seed_draws_the_same_questions_and_other_seeds_others() -> None:
    def drawn(seed: int) -> list[str]:
        env = QuestionGame(game())
        first = env.reset(seed=seed)[1]
        return [info["neutral"]["messages"][-1]["content"] for info in (first, *(env.reset()[1] for _ in range(7)))]

    assert drawn(1) == drawn(1)
    assert len({tuple(drawn(seed)) for seed in range(5)}) > 1
    assert len(set(drawn(1))) > 1


def test_an_unknown_question_is_refused() -> None:
    with pytest.raises(DataError, match="question_id 'atlantis' is not in the question set 'tiny'"):
        QuestionGame(game()).reset(options={"question_id": "atlantis"})


def test_a_prompt_wider_than_the_observation_is_refused() -> None:
    with pytest.raises(DataError, match=r"has \d+ tokens, but the game takes 8"):
        begin(prompt_tokens=8)


@given(st.lists(st.integers(0, 50), max_size=9), st.integers(0, 9))
def test_padding_keeps_the_ids_or_refuses_them(ids: list[int], width: int) -> None:
    if len(ids) > width:
        with pytest.raises(DataError, match=f"has {len(ids)} tokens, but the game takes {width}"):
            padded(ids, width)
    else:
        assert padded(ids, width).tolist() == ids + [PAD] * (width - len(ids))


@pytest.mark.parametrize("protocol", [name for name, entry in PROTOCOLS.items() if entry.most > 1])
def test_every_protocol_is_a_game_that_rllib_accepts(protocol: str) -> None:
    env = QuestionGame(game(2, protocol=protocol), lambda _: {group: Said("cairo .", "cairo") for group in GROUPS})
    check_multiagent_environments(env)
    env.reset(options={"question_id": "france"})
    _, rewards, _, _, infos = say(env, SAID)
    assert rewards.keys() == set(GROUPS)
    assert ("cairo" in infos["farmer"]["messages"][-1]["content"]) == (protocol == "placebo")
    assert [message["role"] for message in infos["farmer"]["messages"][-2:]] == ["assistant", "user"]


def test_answers_to_another_question_are_those_of_the_turn_before() -> None:
    told: list[int] = []

    def elsewhere(turn: int) -> dict[str, Said]:
        told.append(turn)
        return {group: Said(f"cairo {turn}", "cairo") for group in GROUPS}

    env = QuestionGame(game(3, protocol="placebo"), elsewhere)
    env.reset(options={"question_id": "france"})
    say(env, SAID)
    _, _, _, _, infos = say(env, SAID)
    assert told == [1, 2]
    assert infos["farmer"]["peers"] == [{"group": group, "response": "cairo 2"} for group in ("neutral", "professor")]


def test_a_game_that_shows_another_question_s_answers_wants_them() -> None:
    with pytest.raises(SpecError, match="'placebo' shows answers to another question, and this game was given none"):
        QuestionGame(game(2, protocol="placebo"))


def test_an_episode_may_have_some_of_the_groups_alone() -> None:
    env = QuestionGame(game())
    observations, _ = env.reset(options={"question_id": "france", "groups": ["farmer"]})
    assert set(observations) == set(env.agents) == {"farmer"}
    _, rewards, terminated, _, _ = say(env, {"farmer": "paris"})
    assert rewards == {"farmer": 1.0}
    assert terminated == {"farmer": True, "__all__": True}
    assert set(env.reset(options={"question_id": "france"})[0]) == set(GROUPS)
    with pytest.raises(DataError, match="group 'poet' is not in the group set"):
        env.reset(options={"groups": ["poet"]})
