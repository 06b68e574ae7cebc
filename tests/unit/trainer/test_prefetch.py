"""A step's batch is asked of all groups for the same questions, one step ahead."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from trialign_ray.trainer.question_sampler import QuestionSampler
from trialign_ray.trainer.train_loop import BatchPrefetcher

from .fakes import Handle, answer_at_once

GROUPS = 12
SAMPLER = QuestionSampler(tuple(f"q{index}" for index in range(40)), 4, seed=77_001, steps=10)


class Group:
    """Gives the questions back that it is asked for."""

    def __init__(self) -> None:
        self.asked: list[Sequence[str]] = []

    def sample(self, question_ids: Sequence[str]) -> Sequence[str]:
        self.asked.append(question_ids)
        return question_ids


@pytest.fixture
def groups(monkeypatch: pytest.MonkeyPatch) -> list[Group]:
    answer_at_once(monkeypatch)
    return [Group() for _ in range(GROUPS)]


def prefetcher(groups: Sequence[Group], step: int = 0) -> BatchPrefetcher:
    handles: list[Any] = [Handle(group) for group in groups]
    return BatchPrefetcher(handles, SAMPLER, step)


def test_each_step_is_asked_for_before_the_one_before_it_is_trained(groups: list[Group]) -> None:
    made = prefetcher(groups)
    for step in range(SAMPLER.steps):
        batch, waited = made.take(step)
        assert list[object](batch) == [SAMPLER.of_step(step)] * GROUPS
        assert waited >= 0
        ahead = min(step + 2, SAMPLER.steps)
        assert all(len(group.asked) == ahead for group in groups)


def test_all_groups_are_asked_with_one_shuffle(groups: list[Group], monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[object] = []
    original = np.random.default_rng

    def counted(seed: object) -> np.random.Generator:
        made.append(seed)
        return original(seed)  # type: ignore[arg-type]

    monkeypatch.setattr(np.random, "default_rng", counted)
    sampler = QuestionSampler(SAMPLER.question_ids, 4, seed=77_002, steps=10)
    handles: list[Any] = [Handle(group) for group in groups]
    ahead = BatchPrefetcher(handles, sampler, 0)
    for step in range(sampler.steps):
        ahead.take(step)
    assert len(made) == 1
