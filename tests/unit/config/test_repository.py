"""Every specification, question set and group set that the repository ships can be used."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from trialign_ray.bench.sets import SETS
from trialign_ray.config.base import Strict, load_yaml, parse
from trialign_ray.config.compare import CompareSpec
from trialign_ray.config.game import GroupSet, QuestionSet
from trialign_ray.config.tasks import AuditSpec, CollectSpec
from trialign_ray.config.train import TrainSpec
from trialign_ray.rewards.verifiers import AnswerReader

ROOT = Path(__file__).parents[3]
KINDS: dict[str, type[Strict]] = {
    **{"train": TrainSpec, "audit": AuditSpec, "collect": CollectSpec},
    "compare": CompareSpec,
}


class _AnyTag(yaml.SafeLoader):
    """Reads what a file's own tags (compose's '!reset') stand for as plain values."""


_AnyTag.add_multi_constructor("!", lambda loader, _, node: getattr(node, "value", None))


def yaml_files(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.y*ml"))


def mappings(value: Any) -> Iterator[dict[str, Any]]:
    """Every mapping in a document, those inside a text block (a ConfigMap's file) included."""
    if isinstance(value, dict):
        yield value
    if isinstance(value, str) and "\n" in value:
        value = _text_block(value)
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from mappings(inner)


def _text_block(text: str) -> Any:
    try:
        found = yaml.load(text, _AnyTag)
    except yaml.YAMLError:
        return None
    return [found] if isinstance(found, dict) else None


def specs_in(path: Path) -> list[dict[str, Any]]:
    documents = yaml.load_all(path.read_text(encoding="utf-8"), _AnyTag)
    return [found for document in documents for found in mappings(document) if found.get("kind") in KINDS]


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


def model_of(data: dict[str, Any]) -> type[Strict]:
    """What a file of the demo is, by its fields."""
    if "kind" in data:
        return KINDS[data["kind"]]
    return GroupSet if isinstance(data.get("groups"), list) else QuestionSet


@pytest.mark.parametrize("path", yaml_files("demo", "jobs"), ids=named)
def test_every_file_of_the_demo_and_the_jobs_parses(path):
    data = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert load_yaml(model_of(data), path)


def test_the_questions_and_groups_that_specifications_name_are_there_and_can_be_used():
    specs = [data for path in yaml_files("demo", "jobs") for data in specs_in(path)]
    fields = [data | (data.get("evaluation") or {}) for data in specs]
    assert specs
    # A panel's questions are made by the command at its head: `trialign bench make NAME --output NAME.json`.
    shipped = [each["questions"] for each in fields if "questions" in each and Path(each["questions"]).stem not in SETS]
    assert shipped
    assert all(load_yaml(QuestionSet, ROOT / path) for path in shipped)
    # A training's groups are names in its logs.
    files = [each["groups"] for each in fields if isinstance(each.get("groups"), str)]
    assert files
    assert all(load_yaml(GroupSet, ROOT / path) for path in files)


@pytest.mark.parametrize("path", yaml_files("cluster", "docker"), ids=named)
def test_every_specification_of_a_deployment_parses(path):
    assert all(parse(KINDS[data["kind"]], data, named(path)) for data in specs_in(path))


def test_specifications_inside_manifests_are_found(tmp_path):
    inside = {"kind": "ConfigMap", "data": {"spec.yaml": "kind: train\nname: demo\n"}}
    (tmp_path / "map.yaml").write_text(yaml.safe_dump_all([{"kind": "Pod"}, inside]), encoding="utf-8")
    assert specs_in(tmp_path / "map.yaml") == [{"kind": "train", "name": "demo"}]


def test_the_demo_questions_can_all_be_answered():
    questions = load_yaml(QuestionSet, ROOT / "demo" / "questions.json")
    reader = AnswerReader(questions)
    for question in questions.questions:
        for reference in question.references:
            assert reader.truth(question, reader.read(question, f"It is {reference}.")) == 1.0, question.question_id


def test_the_demo_questions_have_both_splits():
    questions = load_yaml(QuestionSet, ROOT / "demo" / "questions.json")
    assert questions.split("train")
    assert questions.split("heldout")


def test_the_demo_groups_are_a_control_and_five_or_more_personas_without_a_preference_of_their_own():
    groups = load_yaml(GroupSet, ROOT / "demo" / "groups.yaml")
    assert 6 <= len(groups.names) <= 8
    assert all(group.persona and group.attributes for group in groups.groups[1:])
    assert not any(group.preference for group in groups.groups)
    assert groups.preferences
