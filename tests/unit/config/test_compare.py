"""A comparison's specification is refused where a cell would be, before any cell has run."""

from __future__ import annotations

from typing import Any

import pytest

from trialign_ray.config.base import parse
from trialign_ray.config.compare import CompareSpec, merged
from trialign_ray.errors import SpecError

SPEC: dict[str, Any] = {
    "name": "grid",
    "base": {"model": "m", "logs": "l", "epochs": 2, "optimizer": {"learning_rate": 1e-3, "clip_norm": 2}},
    "algorithms": {
        "ours": {"algorithm": {"name": "trialign"}, "family": "weighted"},
        "sft": {"algorithm": {"name": "sft"}, "train": {"optimizer": {"learning_rate": 1e-4}}, "seeds": [5]},
    },
    "regimes": {
        "all": {"predicted": "A tie: no trade-off binds here."},
        "rank2": {"predicted": "Fairness, since capacity is shared.", "train": {"lora": {"rank": 2}, "epochs": 1}},
    },
    "evaluation": {"questions": "q", "groups": "g"},
    "learning_rates": {"weighted": [1e-4, 5e-4]},
    "contrasts": [{"name": "main", "of": "ours", "against": "sft", "figure": "closed.everyone", "regime": "all"}],
}


def grid(**changes: Any) -> CompareSpec:
    return parse(CompareSpec, merged(SPEC, changes), "grid.yaml")


def test_a_training_is_the_base_then_the_arm_then_the_regime_then_the_rate():
    spec = grid()
    ours = spec.train_spec(spec.algorithms["ours"], spec.regimes["rank2"], 3, 7e-4)
    assert (ours.lora.rank, ours.epochs, ours.seed) == (2, 1, 3)
    assert (ours.optimizer.learning_rate, ours.optimizer.clip_norm) == (7e-4, 2)
    sft = spec.train_spec(spec.algorithms["sft"], spec.regimes["all"], 0)
    assert (sft.algorithm.name, sft.epochs, sft.optimizer.learning_rate) == ("sft", 2, 1e-4)


def test_seeds_are_the_regimes_then_the_arms_then_the_files():
    spec = grid(seeds=[0, 1], regimes={"rank2": {"seeds": [7]}})
    ours, sft = spec.algorithms.values()
    every, few = spec.regimes.values()
    assert [spec.seeds_of(arm, under) for arm in (ours, sft) for under in (every, few)] == [(0, 1), (7,), (5,), (7,)]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"base": {"seed": 1}}, r"'base.seed' is set by the comparison"),
        ({"regimes": {"all": {"train": {"algorithm": {}}}}}, r"'regimes.all.train.algorithm' is set by"),
        ({"regimes": {"all": {"predicted": "ours"}}}, r"at least 20 characters"),
        ({"regimes": {"all": {"algorithms": ["dpo"]}}}, r"regime 'all' names the algorithm 'dpo'"),
        ({"regimes": {"all": {"logs": {"without_groups": ["nurse"]}}}}, r"two groups at least"),
        (
            {"references": ["oracle"]},
            r"'references' names 'oracle', known: base, neutral_to_all, vote",
        ),
        ({"algorithms": {"vote": {"algorithm": {"name": "sft"}}}}, r"'vote' has the name of a reference arm"),
        ({"algorithms": {"sft": {"family": "other"}}}, r"family 'other' has no 'learning_rates'"),
        ({"algorithms": {"sft": {"train": {"epochs": 0}}}}, r"algorithm 'sft': field 'epochs'"),
        ({"learning_rates": {"other": [1e-4]}}, r"equally many rates"),
        ({"validation": {"regime": "none"}}, r"'validation.regime' is 'none'"),
        ({"validation": {"figure": "closed.worst_group"}}, r"'validation.figure' is 'closed.worst_group'"),
        ({"contrasts": [SPEC["contrasts"][0] | {"of": "dpo"}]}, r"contrast 'main': no arm 'dpo'"),
        ({"contrasts": [SPEC["contrasts"][0] | {"regime": "x"}]}, r"contrast 'main': no regime 'x'"),
        ({"contrasts": [SPEC["contrasts"][0] | {"figure": "free.worst_group"}]}, r"cannot be tested"),
        ({"contrasts": [SPEC["contrasts"][0] | {"unseen": True}]}, r"leaves no group or topic out"),
        (
            {
                "contrasts": [SPEC["contrasts"][0] | {"figure": "free.everyone"}],
                "algorithms": {"ours": {"algorithm": {"name": "trialign"}, "free": False}},
            },
            r"'free.everyone' is of free answers, but 'algorithms.ours.free' is false",
        ),
        (
            {
                "contrasts": [SPEC["contrasts"][0] | {"figure": "free.everyone"}],
                "evaluation": {"most_free": 0},
            },
            r"but 'evaluation.most_free' is 0",
        ),
        ({"contrasts": SPEC["contrasts"] * 2}, r"two contrasts are called 'main'"),
    ],
)
def test_a_fault_is_named_with_its_place(changes: dict[str, Any], says: str):
    with pytest.raises(SpecError, match=says):
        grid(**changes)


def test_guesses_in_place_of_truths_that_nobody_took_away_are_refused():
    guessed = {"sft": {"logs": {"pseudo_labels": True}}}
    with pytest.raises(SpecError, match=r"algorithm 'sft' in regime 'all': 'pseudo_labels' guesses .* it takes none"):
        grid(algorithms=guessed)
    few = {"all": {"algorithms": ["ours", "sft"], "logs": {"labels_kept": 0.2}}, "rank2": {"algorithms": ["ours"]}}
    assert grid(algorithms=guessed, regimes=few).trained_in("rank2").keys() == {"ours"}
