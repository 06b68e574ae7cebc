"""The game as an RLlib MultiAgentEnv: one episode is one question, one agent is one social group.

Observations and actions are token ids, padded with PAD at the end. What an agent is told before a later turn is the
protocol's (`trialign_ray.envs.protocols`). The reward is the agent's utility. `infos` carry what logs need: the
messages of an observation with the peers' responses in it, and the scored response of an action.
"""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from ray.rllib.env.multi_agent_env import MultiAgentEnv

from trialign_ray.config.game import Group, Question
from trialign_ray.envs.game_config import PAD, Elsewhere, GameConfig, Ints, Scored, padded
from trialign_ray.envs.prompts import Messages, first_turn
from trialign_ray.envs.protocols.base import Said, later_turn, load_protocol
from trialign_ray.errors import DataError, SpecError
from trialign_ray.rewards.preference import preference_score
from trialign_ray.rewards.utility import utility


class QuestionGame(MultiAgentEnv):
    """All groups answer one question, drawn by `reset(seed=...)` or named by `reset(options={"question_id": ...})`.

    With `options={"groups": [...]}` these alone are the agents of the episode.
    """

    def __init__(self, config: GameConfig, elsewhere: Elsewhere | None = None) -> None:
        """`elsewhere` is for protocols that show answers to another question; raises SpecError where it is missing."""
        super().__init__()  # type: ignore[no-untyped-call]
        self._config = config
        self._protocol = load_protocol(config.protocol)
        if self._protocol.elsewhere and elsewhere is None:
            raise SpecError(
                f"protocol '{config.protocol}' shows answers to another question, and this game was given none. Pass "
                "them: QuestionGame(config, elsewhere=...)."
            )
        self._elsewhere = elsewhere if self._protocol.elsewhere else None
        self._groups = {group.name: group for group in config.groups.groups}
        self.possible_agents = list(self._groups)
        self.agents = list(self.possible_agents)
        vocabulary = config.tokens.vocabulary
        prompt = gymnasium.spaces.Box(PAD, vocabulary - 1, (config.prompt_tokens,), np.int64)
        response = gymnasium.spaces.Box(PAD, vocabulary - 1, (config.response_tokens,), np.int64)
        self.observation_spaces = dict.fromkeys(self.possible_agents, prompt)
        self.action_spaces = dict.fromkeys(self.possible_agents, response)
        self._random = np.random.default_rng()
        self._turn = 0

    def reset(  # type: ignore[override]  # RLlib keys agents by any hashable, this game by name
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Ints], dict[str, dict[str, Any]]]:
        """Begin an episode: every agent's first prompt. Raises DataError for an unknown question_id or group."""
        if seed is not None:
            self._random = np.random.default_rng(seed)
        options = options or {}
        self._question = self._choose(options.get("question_id"))
        self._turn = 1
        agents: list[str] = list(options.get("groups", self.possible_agents))
        if strangers := sorted(set(agents) - set(self._groups)):
            raise DataError(f"group '{strangers[0]}' is not in the group set. Add it there.")
        self.agents = [*agents]
        first = {name: first_turn(self._config.groups, self._groups[name], self._question) for name in agents}
        self._first, self._messages = first, dict(first)
        self._peers: dict[str, list[dict[str, str]]] = {name: [] for name in first}
        return self._observe(), {name: self._seen(name) for name in first}

    def step(  # type: ignore[override]
        self, action_dict: dict[str, Ints]
    ) -> tuple[dict[str, Ints], dict[str, float], dict[str, bool], dict[str, bool], dict[str, dict[str, Any]]]:
        """Score every group's response; tell each what the protocol says where another turn follows."""
        scored = {name: self._score(self._groups[name], action) for name, action in action_dict.items()}
        rewards = {name: self._utility(response) for name, response in scored.items()}
        over = self._turn >= self._config.turns
        infos: dict[str, dict[str, Any]] = {name: {"scored": response} for name, response in scored.items()}
        done = dict.fromkeys((*scored, "__all__"), over)
        if not over:
            self._tell(scored)
            self._turn += 1
        for name in self._messages:
            infos[name] |= self._seen(name)
        return self._observe(), rewards, done, dict.fromkeys(done, False), infos

    def _choose(self, question_id: str | None) -> Question:
        questions = self._config.questions
        if question_id is None:
            question_id = str(self._random.choice([question.question_id for question in questions.questions]))
        if question_id not in questions.by_id:
            raise DataError(f"question_id '{question_id}' is not in the question set '{questions.name}'. Add it there.")
        return questions.by_id[question_id]

    def _tell(self, scored: dict[str, Scored]) -> None:
        said = {name: Said(self._config.reader.shown(one.text), one.answer.value) for name, one in scored.items()}
        about = said if self._elsewhere is None else self._elsewhere(self._turn)
        for name, own in said.items():
            told = later_turn(self._protocol, self._first[name], name, own, about)
            self._messages[name], self._peers[name] = told

    def _seen(self, name: str) -> dict[str, Any]:
        """For the logs: the messages of an agent's observation, and the peers' responses that they show."""
        return {"messages": self._messages[name], "peers": self._peers[name]}

    def _score(self, group: Group, action: Ints) -> Scored:
        text = self._config.tokens.decode(action[action != PAD].tolist())
        answer = self._config.reader.read(self._question, text)
        drawn = self._config.groups.preference_for(group, self._question.question_id, self._question.topic)
        preference = None if drawn is None else preference_score(drawn[0].rule, self._config.reader.shown(text))
        return Scored(text, answer, self._config.reader.truth(self._question, answer), preference)

    def _utility(self, response: Scored) -> float:
        return utility(self._config.utility, response.reward_truth, response.reward_preference)

    def _observe(self) -> dict[str, Ints]:
        return {
            name: padded(self._config.tokens.prompt(messages), self._config.prompt_tokens)
            for name, messages in self._messages.items()
        }

    _question: Question
    _first: dict[str, Messages]
    _messages: dict[str, Messages]
