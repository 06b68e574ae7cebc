"""Every algorithm of the table becomes an objective; one of the user's own comes in by import path."""

from __future__ import annotations

import inspect
import sys
from typing import Any

import pytest
import torch

from tests.unit.objective.games import random_game
from trialign_ray.algorithms.compose import compose
from trialign_ray.config.algorithm import (
    ALGORITHMS,
    AlgorithmSpec,
    ImportedAlgorithm,
    InconsistencySpec,
    TrialignSpec,
    UtilitySpec,
)
from trialign_ray.config.base import parse
from trialign_ray.config.losses import AwrSpec
from trialign_ray.config.seams import load_object
from trialign_ray.config.train import TrainSpec
from trialign_ray.config.welfare import GiniSpec
from trialign_ray.errors import SpecError
from trialign_ray.objective.losses.awr import Awr
from trialign_ray.objective.step import Objective, first_utilities, step_objective
from trialign_ray.objective.welfare.generalised_gini import GeneralisedGini

TRAIN: dict[str, Any] = {"kind": "train", "name": "demo", "model": "m", "logs": "l"}


def algorithm_of(**data: Any) -> AlgorithmSpec:
    """The algorithm of a training specification that holds `data` for it."""
    return parse(TrainSpec, TRAIN | {"algorithm": data}, "spec.yaml").algorithm


@pytest.mark.parametrize("name", ALGORITHMS)
def test_an_algorithm_is_chosen_by_its_name_and_its_step_is_finite(name: str) -> None:
    spec = algorithm_of(name=name)
    assert type(spec) is ALGORITHMS[name].spec
    game = random_game(1, 2, 3, 4)
    logp_qgk = game.logp_qgk.requires_grad_()
    loss = step_objective(compose(spec), logp_qgk, game.candidates, first_utilities(3)).loss
    assert torch.autograd.grad(loss, logp_qgk)[0].isfinite().all()


@pytest.mark.parametrize("entry", ALGORITHMS.values(), ids=list(ALGORITHMS))
def test_an_algorithm_is_a_short_module(entry: Any) -> None:
    module = sys.modules[load_object(entry.import_path).__module__]
    assert len(inspect.getsource(module).splitlines()) < 60


def test_trialign_is_the_default_and_its_fields_can_stand_alone() -> None:
    assert parse(TrainSpec, TRAIN, "spec.yaml").algorithm == TrialignSpec()
    assert algorithm_of(kl=0.1) == TrialignSpec(kl=0.1)


def test_trialign_is_composed_of_the_parts_that_its_specification_names() -> None:
    spec = TrialignSpec(
        loss=AwrSpec(temperature=2),
        welfare=GiniSpec(decay=0.9),
        utility=UtilitySpec(w_truth=0.8),
        inconsistency=InconsistencySpec(coefficient=0.3, form="symmetric"),
        kl=0.1,
        utility_decay=0.4,
    )
    assert compose(spec) == Objective(
        loss=Awr(2),
        welfare=GeneralisedGini(0.9),
        w_truth=0.8,
        inconsistency=spec.inconsistency,
        kl=0.1,
        utility_decay=0.4,
    )


@pytest.mark.parametrize(("kl", "needed"), [(0.0, False), (0.1, True)])
def test_a_kl_term_needs_the_reference(kl: float, needed: bool) -> None:
    assert compose(TrialignSpec(kl=kl)).needs_reference is needed


def test_another_algorithm_is_refused_and_the_known_ones_are_named() -> None:
    with pytest.raises(SpecError, match="'trialign', 'sft', 'dpo'"):
        algorithm_of(name="ppo")


def half(utility: UtilitySpec, temperature: float) -> Objective:
    return Objective(loss=Awr(temperature), w_truth=utility.w_truth)


def test_an_algorithm_of_the_users_own_is_called_with_utility_and_its_options() -> None:
    spec = algorithm_of(name="import_path", import_path=f"{__name__}:half", options={"temperature": 3})
    assert isinstance(spec, ImportedAlgorithm)
    assert compose(spec) == Objective(loss=Awr(3), w_truth=0.7)


@pytest.mark.parametrize(
    ("path", "options", "message"),
    [
        (f"{__name__}:half", {"tempo": 1}, "cannot be called with its options"),
        (f"{__name__}:missing", {}, "cannot be imported"),
        ("builtins:dict", {}, "gave dict, not an Objective"),
    ],
)
def test_an_import_that_gives_no_objective_is_an_error_that_names_it(
    path: str, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(SpecError, match=message):
        compose(algorithm_of(name="import_path", import_path=path, options=options))
