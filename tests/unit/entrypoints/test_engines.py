"""Which engine answers, and what a run does about what it promises."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from transformers import BartConfig, MambaConfig

from tests.unit.entrypoints.audits import spec as audit_spec
from tests.world import World
from trialign_ray.config.generators import VllmSpec
from trialign_ray.config.tasks import CollectSpec
from trialign_ray.data.dataset import read_logs
from trialign_ray.entrypoints.audit import audit
from trialign_ray.entrypoints.collect import collect
from trialign_ray.entrypoints.local_player import Loading
from trialign_ray.envs.rollout import play
from trialign_ray.errors import MissingExtraError, ModelError
from trialign_ray.inference import vllm
from trialign_ray.inference.base import Generator
from trialign_ray.inference.transformers import TransformersEngine
from trialign_ray.progress import Silent
from trialign_ray.trainer.guard.tiny import tiny_model as tiny_copy

PLAYER = "trialign_ray.entrypoints.local_player"


class Notes(Silent):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def note(self, text: str) -> None:
        self.lines.append(text)


class KilledError(BaseException):
    """Stands for a signal: nothing catches it."""


def spec_of(world: World, output: Path, **changes: Any) -> CollectSpec:
    fields = {"name": "a", "model": world.model, "questions": world.questions, "groups": world.groups, "samples": 2}
    fields |= {"output": str(output), "max_new_tokens": 6, "questions_per_batch": 1}
    return CollectSpec.model_validate(fields | changes)


def test_a_killed_collection_by_continuous_batching_goes_on_with_the_same_responses(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = {"generator": {"name": "continuous_batching", "rows": 4}}
    whole, spec = spec_of(world, tmp_path / "whole", **engine), spec_of(world, tmp_path / "logs", **engine)
    collect(whole)
    played: list[int] = []

    def killed(*arguments: Any) -> Any:
        if played:
            raise KilledError
        played.append(1)
        return play(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr(f"{PLAYER}.play", killed)
        with pytest.raises(KilledError):
            collect(spec)
    collect(spec)
    exact = [name for name in read_logs(whole.output).column_names if name != "behaviour_logprobs"]
    assert read_logs(spec.output, columns=exact).equals(read_logs(whole.output, columns=exact))


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"generator": {"name": "continuous_batching"}}, True),
        ({"generator": {"name": "continuous_batching"}, "temperature": 0}, False),
        ({}, False),
    ],
)
def test_draws_that_depend_on_the_batch_are_told(
    world: World, tmp_path: Path, changes: dict[str, Any], told: bool
) -> None:
    notes = Notes()
    collect(spec_of(world, tmp_path / "logs", questions_per_batch=8, **changes), notes)
    assert ["draws by the seeds of a whole batch" in line for line in notes.lines] == [True] * told


def test_an_engine_that_is_not_installed_is_refused_before_anything_is_written(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vllm, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"field 'generator': vllm: not installed\. .*pip install vllm=="):
        collect(spec_of(world, tmp_path / "logs", generator={"name": "vllm"}))
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def answers_wrongly(world: World, tmp_path: Path) -> str:
    """The folder of a model whose code takes no cache by the name that all others do."""
    folder = tmp_path / "mamba"
    shutil.copytree(world.model, folder)
    tiny_copy(MambaConfig()).save_pretrained(str(folder), safe_serialization=True)
    return str(folder)


def test_a_model_that_would_answer_wrongly_is_refused_before_it_is_asked(
    world: World, answers_wrongly: str, tmp_path: Path
) -> None:
    wrong = r"field 'model': models of type 'mamba' would get wrong responses: decoded from its cache"
    with pytest.raises(ModelError, match=wrong):
        collect(spec_of(world, tmp_path / "logs", model=answers_wrongly))
    with pytest.raises(ModelError, match=wrong):
        audit(audit_spec(world, tmp_path, model=answers_wrongly))
    assert [path.name for path in tmp_path.iterdir()] == ["mamba"]


def test_prompts_of_a_model_that_counts_places_are_asked_one_by_one(world: World, tmp_path: Path) -> None:
    """In a second turn the samples have prompts of their own."""
    folder, one_by_one = tmp_path / "bart", {"name": "transformers", "rows": 2}
    shutil.copytree(world.model, folder)
    tiny_copy(BartConfig()).save_pretrained(str(folder), safe_serialization=True)
    collect(spec_of(world, tmp_path / "logs", model=str(folder), generator=one_by_one))
    for changes in ({}, {"generator": one_by_one, "turns": 2, "protocol": "placebo"}):
        with pytest.raises(ModelError, match=r"padding moves the shorter prompts .* Set generator\.rows to \d"):
            collect(spec_of(world, tmp_path / "other", model=str(folder), **changes))


@dataclass(frozen=True)
class Spreading:
    """In the place of vLLM: the loop of our own, and notes how often it was spread over what."""

    asked: Callable[[int, float], None]

    def __call__(self, **_: Any) -> Spreading:
        return self

    def spread(self, model: Path, adapter: Path | None, dtype: str, workers: int, gpus: float) -> Generator:
        self.asked(workers, gpus)
        return TransformersEngine(rows=8).load(model, adapter, dtype, "cpu")


def test_an_engine_of_the_cluster_is_given_copies_that_lie_on_every_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[Any] = []

    class Opening:
        def spread(self, *given: Any) -> None:
            opened.append(given)

    monkeypatch.setattr(vllm, "VllmEngine", lambda **_: Opening())
    monkeypatch.setattr(f"{PLAYER}.on_every_machine", lambda uri, resource: Path(f"/all/{resource}/{uri[-1]}"))
    Loading("s3://bucket/m", "s3://bucket/a", VllmSpec(), "bfloat16", "cuda").spread(2, 1.0)
    assert opened == [(Path("/all/GPU/m"), Path("/all/GPU/a"), "bfloat16", 2, 1.0)]


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({}, (1, 0.0)),
        ({"workers": 3, "gpus_per_worker": 2}, (3, 2.0)),
        ({"workers": 2, "gpus_per_worker": 0}, (2, 0.0)),
    ],
)
def test_an_engine_of_the_cluster_is_spread_once_over_what_was_asked_for(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], place: tuple[int, float]
) -> None:
    reached: list[str | None] = []
    awaited: list[tuple[int, float]] = []
    placed: list[tuple[int, float]] = []

    def connected(address: str | None) -> Any:
        reached.append(address)
        return nullcontext()

    def reserved(needs: dict[str, float], workers: int) -> Any:
        awaited.append((workers, needs["GPU"]))
        return nullcontext()

    monkeypatch.setattr(f"{PLAYER}.connected", connected)
    monkeypatch.setattr(f"{PLAYER}.reserved", reserved)
    monkeypatch.setattr(vllm, "VllmEngine", Spreading(lambda *found: placed.append(found)))
    spec = spec_of(world, tmp_path / "logs", generator={"name": "vllm"}, dtype="float32", **changes)
    collect(spec, address="ray://head:10001")
    assert (reached, awaited, placed) == (["ray://head:10001"], [place], [place])
    alone = spec_of(world, tmp_path / "alone")
    collect(alone)
    exact = [name for name in read_logs(alone.output).column_names if name != "behaviour_logprobs"]
    assert read_logs(spec.output, columns=exact).equals(read_logs(alone.output, columns=exact))
