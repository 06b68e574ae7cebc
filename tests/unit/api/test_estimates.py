"""What a dry run tells of memory is what `trialign plan` tells of a step as long as the logs' longest rows."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from tests.tiny import tiny_config
from tests.unit.api.fake import Plane, plane
from tests.unit.api.test_plan import TRAIN, inputs, validate
from trialign_api.schemas import Plan
from trialign_api.services import machine
from trialign_api.services.exactness import Room, estimate
from trialign_ray.config.train import LearnerSpec, LoraSpec, TrainSpec
from trialign_ray.data.writer import Longest
from trialign_ray.entrypoints.plan import assumed_step, longest_pair, plan_for
from trialign_ray.trainer import packing
from trialign_ray.trainer.guard.verdict import config_of
from trialign_ray.trainer.memory import footprint

__all__ = ["inputs"]
GIB = 2**30
HERE, ELSEWHERE = Room(here=True), Room(here=False)
LENGTHS = {"longest_tokens": 60, "longest_prompt": 40, "longest_response": 25}
UNKNOWN = dict.fromkeys(("available", "fits", "advice"))


def run(**changes: Any) -> TrainSpec:
    fields: dict[str, Any] = {"name": "x", "model": "none", "logs": "none", "lora": {"rank": 4}}
    return TrainSpec.model_validate(fields | changes)


def dry(spec: TrainSpec, groups: int = 3) -> Plan:
    most = spec.questions_per_step * groups * (spec.candidates.own + spec.candidates.borrowed)
    return Plan(kind="train", data=LENGTHS, derived={"groups": groups, "most_responses_per_step": most})


def told(spec: TrainSpec, room: Room, groups: int = 3) -> dict[str, Any]:
    return estimate(tiny_config(), spec, dry(spec, groups), room)


@pytest.fixture
def free(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Says how many bytes this machine has free."""
    return lambda count: monkeypatch.setattr("trialign_ray.entrypoints.plan.free_memory", lambda: float(count))


@pytest.mark.parametrize(("borrowed", "prompt"), [(3, 40), (0, 35)])
def test_the_figures_are_those_of_a_plan_for_the_longest_rows(
    free: Callable[[int], None], borrowed: int, prompt: int
) -> None:
    """A borrowed response stands behind any prompt; one's own are as long with their prompt as the longest row."""
    free(8 * GIB)
    spec = run(candidates={"borrowed": borrowed})
    made = plan_for(tiny_config(), spec, assumed_step(spec, 3, prompt, 25), 4 * GIB)
    assert told(spec, HERE) == asdict(made) | {"total": made.total, "fits": True, "advice": []}
    assert (made.passes, made.available) == (1, 4 * GIB)
    assert made.object_store == 2 * 4 * 4 * 3 * (prompt + (6 + borrowed) * 25)


def test_a_machine_that_is_too_small_is_told_with_what_to_change(free: Callable[[int], None]) -> None:
    free(2 << 20)
    found = told(run(), HERE)
    assert (found["fits"], found["available"]) == (False, 1 << 20)
    assert "learner.zero_stage: 3" in found["advice"][0]


@pytest.mark.parametrize(
    ("learner", "room"), [({}, ELSEWHERE), ({"gpu": True}, HERE), ({"gpu": True}, Room(here=False))]
)
def test_of_a_machine_that_is_not_seen_no_fit_is_claimed(learner: dict[str, Any], room: Room) -> None:
    found = told(run(learner=learner), room)
    assert found.items() >= UNKNOWN.items()
    assert (found["passes"], found["tokens_per_pass"], found["tokens_per_step"]) == (None, None, None)
    assert found["object_store"] > 0
    given = told(run(learner=learner | {"tokens_per_pass": 200}), room)
    assert given.items() >= UNKNOWN.items()
    assert (given["passes"], given["tokens_per_pass"] <= 200) == (12, True)
    assert given["activations"] > found["activations"]  # of one response


def test_a_gpu_of_the_services_machine_is_what_a_worker_may_take() -> None:
    found = told(run(learner={"gpu": True}), Room(here=True, gpu=GIB // 2))
    assert (found["available"], found["fits"]) == (GIB // 2, False)


@pytest.mark.parametrize(
    ("changes", "groups"), [({"candidates": {"answers": 4}}, 3), ({"questions_per_step": 4000}, 20)]
)
def test_a_step_whose_size_is_not_known_has_no_passes_and_yet_the_least_of_memory(
    free: Callable[[int], None], changes: dict[str, Any], groups: int
) -> None:
    free(8 * GIB)
    found, least = told(run(**changes), HERE, groups), told(run(), ELSEWHERE)
    assert {found[name] for name in ("passes", "tokens_per_pass", "tokens_per_step", "object_store")} == {None}
    assert (found["fits"], found["total"]) == (True, least["total"])
    filled = told(run(**changes, learner={"tokens_per_pass": 6500}), HERE, groups)
    widths = footprint(tiny_config(), LoraSpec(rank=4), LearnerSpec())
    assert (found["activations"], filled["activations"]) == (widths.activations(1, 64), widths.activations(100, 64))


def test_a_step_of_many_alike_prompts_is_packed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The confined process has seconds."""
    grown: list[packing.Tree] = []
    real = packing.tree_nodes

    def counted(tree: packing.Tree) -> int:
        grown.append(tree)
        return real(tree)

    monkeypatch.setattr(packing, "tree_nodes", counted)
    few = told(run(questions_per_step=100, learner={"tokens_per_pass": 500}), ELSEWHERE, groups=50)
    assert few["passes"] > 100
    assert len(grown) < 100


@pytest.mark.anyio
async def test_beside_its_own_ray_the_service_goes_by_its_machine(
    control: Plane, inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[None] = []

    async def gpu_bytes() -> int | None:
        asked.append(None)
        return None

    monkeypatch.setattr(machine, "gpu_bytes", gpu_bytes)
    (tmp_path / "own").mkdir()
    async with plane(tmp_path / "own", ray_here=True, workspace=control.settings.workspace) as own:
        found = (await validate(own, **TRAIN)).json()["plan"]
        on_gpu = (await validate(own, **TRAIN, learner={"gpu": True})).json()["plan"]["memory"]
    spec = TrainSpec.model_validate({**TRAIN, "name": "x"})
    longest = Longest(*(found["data"][f"longest_{what}"] for what in ("tokens", "prompt", "response")))
    step = assumed_step(spec, 2, *longest_pair(spec, longest))
    made = plan_for(config_of(inputs / "model"), spec, step, found["memory"]["available"])
    assert found["memory"] == asdict(made) | {"total": made.total, "fits": True, "advice": []}
    assert on_gpu.items() >= UNKNOWN.items()
    assert len(asked) == 1


@pytest.mark.anyio
@pytest.mark.parametrize(("said", "known"), [(b"1024\n", 1024), (b"0\n", None), (b"", None)])
async def test_the_gpus_memory_is_asked_for_once(
    monkeypatch: pytest.MonkeyPatch, said: bytes, known: int | None
) -> None:
    asked: list[object] = []

    def answer(command: object, **_: object) -> subprocess.CompletedProcess[bytes]:
        asked.append(command)
        return subprocess.CompletedProcess([], 0, said)

    machine._asked.cache_clear()
    monkeypatch.setattr(subprocess, "run", answer)
    assert [await machine.gpu_bytes(), await machine.gpu_bytes()] == [known, known]
    assert len(asked) == (1 if said else 2)  # what did not answer is asked again
    machine._asked.cache_clear()
