"""A loss, a welfare function and a reward of the user's own, each by import path, take part in a step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.unit.objective.games import Game, game_of, random_game
from trialign_ray.algorithms.compose import compose
from trialign_ray.config.algorithm import UtilitySpec
from trialign_ray.config.base import parse
from trialign_ray.config.game import GroupSet
from trialign_ray.config.train import TrainSpec
from trialign_ray.errors import SpecError
from trialign_ray.objective.losses.base import LossInputs, LossOutputs
from trialign_ray.objective.step import StepOutputs, first_utilities, step_objective
from trialign_ray.rewards.preference import preference_score
from trialign_ray.rewards.utility import utility

TRUSTED = "TRIALIGN_TRUSTED_MODULES"


@dataclass(frozen=True)
class PullToReference:
    """Squared distance to the reference: a loss that reads reference log-probs."""

    scale: float
    needs_reference: bool = True

    def __call__(self, inputs: LossInputs) -> LossOutputs:
        distance_qgk = inputs.logp_qgk - inputs.candidates.reference_logp_qgk
        return LossOutputs(self.scale * distance_qgk.square().sum(-1), inputs.candidates.mask_qgk.sum(-1))


@dataclass(frozen=True)
class FirstGroupOnly:
    weight: float

    def weights(self, utility_g: Tensor) -> Tensor:
        weight_g = torch.zeros_like(utility_g)
        weight_g[0] = self.weight
        return weight_g


def politeness(word: str) -> Callable[[str], float]:
    return lambda response: float(word in response.lower())


def shouting() -> Callable[[str], float]:
    return lambda response: float(len(response))


def own(name: str, **options: Any) -> dict[str, Any]:
    return {"import_path": f"{__name__}:{name}", "options": options}


def rule(name: str, **options: Any) -> Any:
    """The rule of a group set that has one preference."""
    preference = {"name": "own", "explicit": "e", "implicit": "i"}
    preference["rule"] = {"rule": "import_path", **own(name, **options)}  # type: ignore[assignment]
    groups = {"groups": [{"name": "neutral"}, {"name": "nurse"}], "preferences": [preference]}
    return parse(GroupSet, groups, "groups.yaml").preferences[0].rule


def step(game: Game, **algorithm: Any) -> StepOutputs:
    data = {"name": "demo", "model": "m", "logs": "l", "algorithm": algorithm}
    objective = compose(parse(TrainSpec, data, "spec.yaml").algorithm)
    return step_objective(objective, game.logp_qgk, game.candidates, first_utilities(game.logp_qgk.shape[1]))


def test_a_loss() -> None:
    game = random_game(0, 2, 3, 4)
    loss = {"name": "import_path", **own("PullToReference", scale=0.5)}
    outputs = step(game, loss=loss, welfare={"family": "alpha_fair", "alpha": 0})
    distance = (game.logp_qgk - game.candidates.reference_logp_qgk).square().sum(-1).mean()
    torch.testing.assert_close(outputs.policy_loss, 0.5 * distance)


def test_a_welfare_function() -> None:
    outputs = step(random_game(0, 2, 3, 4), welfare={"family": "import_path", **own("FirstGroupOnly", weight=3)})
    assert outputs.weight_g.tolist() == [3.0, 0.0, 0.0]


def test_a_reward(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TRUSTED, __name__)
    responses = [["It is Lima, please.", "It is Lima."]]
    liked = [[preference_score(rule("politeness", word="please"), response) for response in row] for row in responses]
    assert liked == [[1.0, 0.0]]
    utility_qgk = torch.tensor([[[utility(UtilitySpec(), 1.0, reward) for reward in row] for row in liked]])
    game = game_of([[[0, 0]]], utility_qgk=utility_qgk.double())
    outputs = step(Game(game, torch.zeros(1, 1, 2, dtype=torch.float64)))
    assert float(outputs.signal_share) == 1.0


def test_a_reward_that_data_names_is_imported_from_a_trusted_module_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TRUSTED, "tests.unit, another")
    with pytest.raises(SpecError, match=f"set {TRUSTED}={__name__}"):
        preference_score(rule("politeness", word="please"), "Please.")


def test_a_reward_outside_of_zero_to_one_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TRUSTED, f"another,{__name__}")
    with pytest.raises(SpecError, match=r"scored 7\.0, but a reward lies in \[0, 1\]"):
        preference_score(rule("shouting"), "Please.")


def test_a_reward_function_is_made_once_for_its_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TRUSTED, __name__)
    made: list[str] = []

    def counted(word: str) -> Callable[[str], float]:
        made.append(word)
        return lambda response: 1.0

    monkeypatch.setattr(f"{__name__}.politeness", counted)
    for response in ("one", "two", "three"):
        preference_score(rule("politeness", word="once"), response)
    assert made == ["once"]
