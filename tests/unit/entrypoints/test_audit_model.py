"""The truth report of a model that is asked."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model

from tests.unit.entrypoints.audits import GROUPS, Row, spec, value
from tests.world import World
from trialign_ray.config.train import LearnerSpec, LoraSpec
from trialign_ray.data.dataset import read_logs
from trialign_ray.data.validation import validate_logs
from trialign_ray.entrypoints.audit import audit
from trialign_ray.envs.rollout import play
from trialign_ray.errors import CheckpointError, DataError, ModelError, SpecError
from trialign_ray.inference.base import Generated
from trialign_ray.models.loading import adapter_hash, chat_tokens, load_model
from trialign_ray.trainer.policy import adapt


def test_a_model_is_asked_the_split_and_its_answers_are_kept(world: World, tmp_path: Path) -> None:
    report = audit(spec(world, tmp_path, model=world.model, samples=2, max_new_tokens=6))
    path = tmp_path / "runs" / "a" / "answers"
    rows = read_logs(path).to_pylist()
    assert validate_logs(path).ok
    assert {row["question_id"] for row in rows} == {"4-peru", "5-kenya"}
    assert len(rows) == 2 * len(GROUPS) * 2
    assert (report.audit.questions, report.audit.samples) == (2, 2)
    assert {row["model_hash"] for row in rows} == {report.run["model_hash"]}


class KilledError(BaseException):
    """Stands for a signal: nothing catches it."""


def test_a_killed_audit_goes_on_with_the_batches_that_are_left(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, Any] = {"model": world.model, "samples": 2, "max_new_tokens": 6, "questions_per_batch": 1}
    audit(spec(world, tmp_path, name="whole", **asked))
    played: list[str] = []

    def killed(*arguments: Any) -> Any:
        if played:
            raise KilledError
        played.append(arguments[2][0].question_id)
        return play(*arguments)

    monkeypatch.setattr("trialign_ray.entrypoints.local_player.play", killed)
    with pytest.raises(KilledError):
        audit(spec(world, tmp_path, **asked))
    folder = tmp_path / "runs" / "a"
    assert {path.name for path in folder.iterdir()} == {".answers.begun"}
    with pytest.raises(CheckpointError, match=r"'temperature' is 0\.5, but the work was begun with 0\.7"):
        audit(spec(world, tmp_path, **asked, temperature=0.5))
    played.clear()
    audit(spec(world, tmp_path, **asked))
    assert played == ["5-kenya"]
    assert read_logs(folder / "answers").equals(read_logs(tmp_path / "runs" / "whole" / "answers"))
    assert not (folder / ".answers.begun").exists()


@pytest.fixture
def adapter(world: World, tmp_path: Path) -> Path:
    """A PEFT adapter that changes the model."""
    policy = adapt(load_model(world.model, "float32", "eager"), LoraSpec(rank=4), LearnerSpec(), seed=1)
    with torch.no_grad():
        for parameter in policy.trainable():
            parameter.add_(0.5)
    policy.model.save_pretrained(str(tmp_path / "adapter"), safe_serialization=True)
    return tmp_path / "adapter"


def test_a_model_with_an_adapter_is_audited_and_both_are_named(world: World, tmp_path: Path, adapter: Path) -> None:
    plain = audit(spec(world, tmp_path, model=world.model, max_new_tokens=6))
    adapted = audit(spec(world, tmp_path, name="b", model=world.model, adapter=str(adapter), max_new_tokens=6))
    assert adapted.run["model_hash"] == plain.run["model_hash"]
    assert (adapted.run["adapter_hash"], plain.run["adapter_hash"]) == (adapter_hash(adapter), None)
    answers = [read_logs(tmp_path / "runs" / name / "answers")["response_ids"] for name in ("a", "b")]
    assert answers[0] != answers[1]


@pytest.mark.parametrize("file", ["adapter_config.json", "adapter_model.safetensors"])
def test_an_adapter_that_is_not_whole_is_refused_before_the_first_answer(
    world: World, tmp_path: Path, adapter: Path, file: str
) -> None:
    (adapter / file).unlink()
    engine = {"name": "import_path", "import_path": f"{__name__}:Refusing"}
    with pytest.raises(ModelError, match=rf"field 'adapter': .*no {file}"):
        audit(spec(world, tmp_path, model=world.model, adapter=str(adapter), generator=engine))


class Refusing:
    """An engine that must not be asked."""

    def load(self, *_: object) -> Any:
        raise AssertionError("a model was loaded")


@dataclass
class Parrot:
    """An engine of the user's own: whatever is asked, it answers one word."""

    word: str

    def load(self, model: Path, adapter: Path | None, dtype: str, device: str) -> Parrot:
        self.ids = chat_tokens(model).response(self.word)
        return self

    def generate(self, prompts: Any, seeds: Any, sampling: Any, stop_ids: Any, on_progress: Any = None) -> Any:
        response = Generated(self.ids, [0.0] * len(self.ids), finished=True)
        return [[response] * sampling.samples for _ in prompts]


def test_an_engine_of_the_users_own_is_named_by_import_path(world: World, tmp_path: Path) -> None:
    engine = {"name": "import_path", "import_path": f"{__name__}:Parrot", "options": {"word": "lima"}}
    found = audit(spec(world, tmp_path, model=world.model, max_new_tokens=6, generator=engine))
    assert set(read_logs(tmp_path / "runs" / "a" / "answers")["response"].to_pylist()) == {"lima"}
    assert value(found.audit.accuracy_mean) == 0.5


def test_a_dataset_of_answers_gives_the_figures_of_the_audit_that_made_it(world: World, tmp_path: Path) -> None:
    first = audit(spec(world, tmp_path, model=world.model, max_new_tokens=6))
    again = audit(spec(world, tmp_path, name="b", answers=str(tmp_path / "runs" / "a" / "answers"), split="heldout"))
    assert again.audit == first.audit


@pytest.mark.parametrize("gate", ["contradiction_excess>0.1", "disagreement_excess.low>0"])
def test_a_gate_on_several_samples_is_refused_before_the_one_is_asked(gate: str, world: World, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"(?s)field 'fail_if'.*one response"):
        audit(spec(world, tmp_path, model=str(tmp_path / "none"), fail_if=[gate]))


@pytest.mark.parametrize("read", ["score", "generate"])
def test_a_device_that_is_not_there_is_refused_before_the_model_is_loaded(
    read: str, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ModelError, match=r"field 'device'.*finds no CUDA device"):
        audit(spec(world, tmp_path, model=str(tmp_path / "none"), read=read, device="cuda"))


REFUSING = {"name": "import_path", "import_path": f"{__name__}:Refusing"}


def test_groups_that_ask_in_the_same_words_are_refused_before_a_model_is_loaded(world: World, tmp_path: Path) -> None:
    (tmp_path / "twins.yaml").write_text("groups:\n  - name: neutral\n  - name: twin\n")
    twins = spec(world, tmp_path, model=world.model, groups=str(tmp_path / "twins.yaml"), generator=REFUSING)
    with pytest.raises(DataError, match=r"field 'groups': .*'neutral' and 'twin' get the same prompt"):
        audit(twins)


def test_an_argument_that_the_chat_template_does_not_read_is_refused(world: World, tmp_path: Path) -> None:
    asked = spec(world, tmp_path, model=world.model, generator=REFUSING, chat_template_kwargs={"thinking": False})
    with pytest.raises(ModelError, match=r"field 'model': .*reads no argument 'thinking'"):
        audit(asked)


@pytest.mark.parametrize("kind", [{"use_dora": True}, {"use_rslora": True}], ids=["dora", "rslora"])
def test_adapters_of_other_kinds_are_audited(world: World, tmp_path: Path, kind: dict[str, Any]) -> None:
    torch.manual_seed(3)
    module: Any = load_model(world.model, "float32")
    adapted = get_peft_model(module, LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM", **kind))
    with torch.no_grad():
        for parameter in adapted.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter))
    adapted.save_pretrained(str(tmp_path / "adapter"))
    audit(spec(world, tmp_path, model=world.model, max_new_tokens=6))
    found = audit(
        spec(world, tmp_path, name="b", model=world.model, adapter=str(tmp_path / "adapter"), max_new_tokens=6)
    )
    assert found.run["adapter_hash"] == adapter_hash(tmp_path / "adapter")
    answers = [read_logs(tmp_path / "runs" / name / "answers")["response_ids"] for name in ("a", "b")]
    assert answers[0] != answers[1]


def test_the_report_is_split_by_cue(world: World, tmp_path: Path) -> None:
    groups: dict[str, list[Row]] = {"groups": [{"name": "neutral"}, {"name": "farmer", "persona": "a farmer ."}]}
    groups["groups"].append({"name": "professor", "cue": {"kind": "name", "name": "professor"}})
    (tmp_path / "cues.json").write_text(json.dumps(groups))
    report = audit(spec(world, tmp_path, model=world.model, groups=str(tmp_path / "cues.json"), max_new_tokens=6))
    assert [(row.cue, row.groups) for row in report.by_cue["audit"]] == [
        ("persona", ("farmer",)),
        ("name", ("professor",)),
    ]
