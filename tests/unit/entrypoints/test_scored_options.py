"""The truth report of options that are scored, where the model's answer begins."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml
from transformers import AutoTokenizer

from tests.unit.entrypoints.audits import GROUPS, spec
from tests.world import World
from trialign_ray.config.tasks import AuditSpec
from trialign_ray.data.dataset import read_logs
from trialign_ray.data.validation import validate_logs
from trialign_ray.entrypoints.audit import audit
from trialign_ray.errors import CheckpointError, DataError, ModelError, SpecError
from trialign_ray.trainer.option_scores import OptionScorer
from trialign_ray.trainer.packing import Tree

_OPENS = (
    "{% if add_generation_prompt %}<think>\n"
    "{% if enable_thinking is defined and not enable_thinking %}\n</think>\n\n{% endif %}{% endif %}"
)


@pytest.fixture
def opening(world: World, tmp_path: Path) -> AuditSpec:
    """Of a model whose chat template opens a block of reasoning, unless it is told not to."""
    model = tmp_path / "model"
    shutil.copytree(world.model, model)
    tokenizer = AutoTokenizer.from_pretrained(model)
    tokenizer.chat_template += _OPENS
    tokenizer.save_pretrained(model)
    asked = {"questions": world.questions, "groups": world.groups, "runs": str(tmp_path / "runs"), "bootstrap": 100}
    return AuditSpec.model_validate({"name": "a", "model": str(model), "read": "score"} | asked)


def test_options_are_not_scored_within_reasoning(opening: AuditSpec) -> None:
    (Path(str(opening.model)) / "model.safetensors").unlink()
    with pytest.raises(ModelError, match=r"field 'model': .*opens '<think>'.*--template enable_thinking=false.*--read"):
        audit(opening)


def test_options_are_scored_where_the_template_closes_its_reasoning(opening: AuditSpec) -> None:
    closed = opening.model_copy(update={"chat_template_kwargs": {"enable_thinking": False}})
    assert audit(closed).audit.questions == 2


def test_options_are_scored_where_nothing_is_generated(world: World, tmp_path: Path) -> None:
    report = audit(spec(world, tmp_path, model=world.model, read="score", split="all"))
    found, folder = report.audit, tmp_path / "runs" / "a"
    assert (report.run["read"], report.run["dtype"], report.run["adapter_hash"]) == ("score", "float32", None)
    assert found.closed_set is not None
    assert (found.closed_set.fewest_options, found.closed_set.chance) == (4, 0.25)
    assert (found.named, found.refusal_by_group, found.preference) == (None, None, None)
    scored = pq.read_table(folder / "options.parquet").to_pylist()
    assert len(scored) == found.questions * len(GROUPS) * 4
    for given in read_logs(str(folder / "answers")).to_pylist():
        cell = [row for row in scored if (row["question_id"], row["group"]) == (given["question_id"], given["group"])]
        assert given["response"] == max(cell, key=lambda row: row["logprob"])["option"]
        assert given["reward_truth"] == (given["answer"] == given["references"][0])
    assert validate_logs(str(folder / "answers")).ok


class KilledError(BaseException):
    """Stands for a signal: nothing catches it."""


def test_a_killed_audit_goes_on_with_the_options_that_are_left(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, Any] = {"model": world.model, "read": "score", "split": "all", "questions_per_batch": 2}
    whole = audit(spec(world, tmp_path, name="whole", **asked))
    score, scored = OptionScorer.logprobs, list[int]()

    def killed(self: OptionScorer, trees: Sequence[Tree], *rest: Any) -> list[list[float]]:
        if scored:
            raise KilledError
        return counted(self, trees, *rest)

    def counted(self: OptionScorer, trees: Sequence[Tree], *rest: Any) -> list[list[float]]:
        scored.append(len(trees))
        return score(self, trees, *rest)

    folder = tmp_path / "runs" / "a"
    monkeypatch.setattr(OptionScorer, "logprobs", killed)
    with pytest.raises(KilledError):
        audit(spec(world, tmp_path, **asked))
    assert {path.name for path in folder.iterdir()} == {".answers.begun"}
    with pytest.raises(CheckpointError, match=r"'options' is 3, but the work was begun with 4"):
        audit(spec(world, tmp_path, **asked, options=3))
    with monkeypatch.context() as other:
        other.setattr("trialign_ray.entrypoints.audit.scored_options.tokenizer_hash", lambda _: "another template")
        with pytest.raises(CheckpointError, match="'tokenizer' is 'another template', but the work was begun with"):
            audit(spec(world, tmp_path, **asked))
    monkeypatch.setattr(OptionScorer, "logprobs", counted)
    again = audit(spec(world, tmp_path, **asked))
    assert scored == [2 * len(GROUPS)] * 3
    assert again.audit == whole.audit
    undisturbed = tmp_path / "runs" / "whole"
    assert read_logs(folder / "answers").equals(read_logs(undisturbed / "answers"))
    assert pq.read_table(folder / "options.parquet").equals(pq.read_table(undisturbed / "options.parquet"))
    assert not (folder / ".answers.begun").exists()


def test_chance_is_that_of_a_right_option_where_several_are_right(world: World, tmp_path: Path) -> None:
    question = {"question_id": "q", "text": "Why?", "references": ["lima", "oslo"], "split": "heldout"}
    questions = tmp_path / "several.yaml"
    questions.write_text(
        yaml.safe_dump({"name": "s", "questions": [question | {"options": ["lima", "oslo", "cairo"]}]})
    )
    report = audit(spec(world, tmp_path, model=world.model, read="score", questions=str(questions)))
    assert report.audit.closed_set is not None
    assert report.audit.closed_set.chance == pytest.approx(2 / 3)


def test_every_group_chooses_among_the_same_options(world: World, tmp_path: Path) -> None:
    audit(spec(world, tmp_path, model=world.model, read="score", split="all", options=3))
    offered: dict[str, set[tuple[str, ...]]] = {}
    cells: dict[tuple[str, str], list[str]] = {}
    for row in pq.read_table(tmp_path / "runs" / "a" / "options.parquet").to_pylist():
        cells.setdefault((row["question_id"], row["group"]), []).append(row["option"])
    for (question_id, _), texts in cells.items():
        offered.setdefault(question_id, set()).add(tuple(texts))
    assert {len(sets) for sets in offered.values()} == {1}
    assert {len(texts) for texts in cells.values()} == {3}


@pytest.mark.parametrize(
    "gate", ["named<0.5", "language_drift_by_group.farmer>0.1", "preference_by_group.farmer<1", "hypervolume<1"]
)
def test_a_gate_on_form_is_refused_before_options_are_scored(gate: str, world: World, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"(?s)field 'fail_if'.*have no"):
        audit(spec(world, tmp_path, model=str(tmp_path / "none"), read="score", fail_if=[gate]))


def test_questions_without_options_are_refused_before_the_model_is_loaded(world: World, tmp_path: Path) -> None:
    questions = tmp_path / "open.yaml"
    questions.write_text(
        yaml.safe_dump({"name": "o", "questions": [{"question_id": "q", "text": "Why?", "references": ["so"]}]})
    )
    with pytest.raises(DataError, match=r"field 'questions'.*no question of split 'heldout' has options to score"):
        audit(spec(world, tmp_path, model=str(tmp_path / "none"), read="score", questions=str(questions)))
