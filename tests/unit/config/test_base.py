from __future__ import annotations

import re
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from trialign_ray.config.base import Strict, load_mapping, load_yaml, parse
from trialign_ray.config.game import GroupSet, QuestionSet
from trialign_ray.config.tasks import AuditSpec
from trialign_ray.config.train import TrainSpec
from trialign_ray.errors import SpecError

from .samples import AUDIT, LEAST, SERVER, TRAIN

EVERY = pytest.mark.parametrize("model", LEAST, ids=lambda model: model.__name__)


def required(model: type[Strict]) -> list[str]:
    return [field.alias or name for name, field in model.model_fields.items() if field.is_required()]


def declared(base: type[Strict] = Strict) -> set[type[Strict]]:
    found = {model for child in base.__subclasses__() for model in {child} | declared(child)}
    return {model for model in found if model.__module__.startswith("trialign_ray.config.")}


def test_every_specification_is_tested_here():
    assert declared() == set(LEAST)


@EVERY
def test_a_specification_is_immutable(model):
    spec = model.model_validate(LEAST[model])
    for name in model.model_fields:
        with pytest.raises(ValidationError, match="frozen"):
            setattr(spec, name, getattr(spec, name))


@EVERY
def test_an_unknown_field_is_an_error_that_names_it_and_the_fix(model):
    with pytest.raises(SpecError, match=r"here: field 'tyop': is not a field here; remove it or fix its name"):
        parse(model, LEAST[model] | {"tyop": 1}, "here")


@pytest.mark.parametrize(
    ("model", "field"),
    [(model, field) for model in LEAST for field in required(model)],
    ids=lambda part: part if isinstance(part, str) else part.__name__,
)
def test_a_missing_field_is_an_error_that_names_it_and_the_fix(model, field):
    data = {name: value for name, value in LEAST[model].items() if name != field}
    with pytest.raises(SpecError, match=rf"here: field '{field}': is required; add it$"):
        parse(model, data, "here")


@EVERY
def test_a_specification_survives_the_round_trip_through_json(model):
    spec = model.model_validate(LEAST[model])
    assert model.model_validate_json(spec.model_dump_json(by_alias=True)) == spec


@EVERY
def test_the_json_schema_says_what_it_is_for_and_forbids_the_rest(model):
    schema = model.model_json_schema()
    assert schema["description"]
    assert schema["additionalProperties"] is False
    assert set(schema.get("required", ())) == set(required(model))


def test_every_fault_has_a_line_with_its_place_and_what_was_given():
    data = TRAIN | {"seed": -1, "learner": {"workers": 0, "zero_stage": 4}, "logs": ""}
    with pytest.raises(SpecError) as caught:
        parse(TrainSpec, data, "spec.yaml")
    lines = str(caught.value).splitlines()
    assert [line.split("'")[1] for line in lines] == ["logs", "seed", "learner.workers", "learner.zero_stage"]
    assert all(line.startswith("spec.yaml: field ") for line in lines)
    assert lines[1].endswith("(given: -1)")
    assert "must be at least 0" in lines[1]
    assert "1, 2 or 3" in lines[3]


def test_a_list_whose_only_entry_is_faulty_is_not_called_empty_too(tmp_path):
    file = tmp_path / "questions.json"
    file.write_text('{"name": "x", "vocabularies": {}, "questions": [{"question_id": "a"}]}')
    with pytest.raises(SpecError) as caught:
        load_yaml(QuestionSet, file)
    assert "field 'questions.0.text'" in str(caught.value)
    assert "entries" not in str(caught.value)
    file.write_text('{"name": "x", "vocabularies": {}, "questions": []}')
    with pytest.raises(SpecError, match="at least 1 entries, has 0"):
        load_yaml(QuestionSet, file)


def test_a_long_value_is_not_repeated_in_full():
    with pytest.raises(SpecError) as caught:
        parse(TrainSpec, TRAIN | {"name": "x" * 5000}, "spec.yaml")
    assert len(str(caught.value)) < 300


def test_a_value_of_the_wrong_shape_is_an_error_at_the_top():
    with pytest.raises(SpecError, match="the request: must have fields"):
        parse(TrainSpec, ["train"], "the request")


WRONG: list[tuple[type[Strict], dict[str, Any], str]] = [
    (GroupSet, {"groups": [{"name": "neutral"}]}, "s: field 'groups': must have at least 2 entries, has 1 (given: "),
    (AuditSpec, AUDIT | {"endpoint": SERVER}, "s: give 'model', 'answers' or 'endpoint', one of the three"),
    (AuditSpec, AUDIT | {"fail_if": "gap>0"}, "s: field 'fail_if': must be a list (given: 'gap>0')"),
    (AuditSpec, AUDIT | {"read": "guess"}, "s: field 'read': must be 'generate' or 'score' (given: 'guess')"),
    (AuditSpec, AUDIT | {"samples": "many"}, "s: field 'samples': must be a whole number (given: 'many')"),
    (AuditSpec, AUDIT | {"samples": 99}, "s: field 'samples': must be at most 64 (given: 99)"),
    (AuditSpec, AUDIT | {"name": ["x"]}, "s: field 'name': must be text (given: ['x'])"),
    (TrainSpec, TRAIN | {"lora": {"alpha": "a"}}, "s: field 'lora.alpha': must be a number (given: 'a')"),
    (TrainSpec, TRAIN | {"logs": ""}, "s: field 'logs': must have at least 1 characters (given: '')"),
    (TrainSpec, TRAIN | {"lora": 3}, "s: field 'lora': must have fields, as 'field: value' (given: 3)"),
]


@pytest.mark.parametrize(("model", "data", "said"), WRONG)
def test_faults_are_said_in_words_for_people(model: type[Strict], data: dict[str, Any], said: str):
    with pytest.raises(SpecError) as caught:
        parse(model, data, "s")
    assert str(caught.value).startswith(said)
    assert not re.search(r"Input should|Value error|Tuple|\(top\)|valid (dictionary|integer|string)", str(caught.value))


def test_a_yaml_file_is_read(tmp_path):
    file = tmp_path / "spec.yaml"
    file.write_text("# für démo\nname: demo\nmodel: m\nlogs: l\noptimizer: {learning_rate: 5e-4}\n", encoding="utf-8")
    found = load_yaml(TrainSpec, file)
    assert (found.name, found.optimizer.learning_rate) == ("demo", 5e-4)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[1, 2]", "expected a mapping of fields at the top, found list"),
        (b"", "expected a mapping of fields at the top, found NoneType"),
        (b"a: [1", "not YAML"),
        (b"\xff\xfe\xff", "cannot be read"),
        (b"!!python/object/apply:os.getcwd []", "not YAML"),
        (b"name: demo", "field 'model': is required; add it"),
    ],
)
def test_a_file_that_is_no_specification_is_an_error_that_names_it(tmp_path, content, message):
    file = tmp_path / "spec.yaml"
    file.write_bytes(content)
    with pytest.raises(SpecError) as caught:
        load_yaml(TrainSpec, file)
    assert str(caught.value).startswith(str(file))
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"aws_key: SECRET", "some.env: has a field that is not known"),
        (b"seed: SECRET", "field 'seed': must be a whole number"),
        (b"a: 1\nb: [SECRET", "not YAML, line 3, column 1"),
        (b"a: 1\nb: *SECRET", "not YAML, line 2, column 4"),
        (b"SECRET: 1\nSECRET: 2", "not YAML, line 2, column 1"),
        (b"a: !!int SECRET", "cannot be read: ValueError"),
        (b"SECRET\x00", "not YAML."),
    ],
)
def test_without_quotes_an_error_says_where_and_not_what_is_there(tmp_path, content, message):
    file = tmp_path / "some.env"
    file.write_bytes(content)
    with pytest.raises(SpecError) as caught:
        load_yaml(TrainSpec, file, quote=False)
    assert message in str(caught.value)
    assert "SECRET" not in str(caught.value)
    reasons = {b"[": "did not find expected ',' or ']'", b"*": "found undefined alias", b"\0": "NULL|#x0000"}
    told = next((reason for mark, reason in reasons.items() if mark in content), "SECRET")
    with pytest.raises(SpecError, match=told):
        load_yaml(TrainSpec, file)


@pytest.mark.parametrize("content", ['{\n\t"name": "\\ud83c\\udf0a"\n}', '\ufeff{"name": "🌊"}'])
def test_a_json_file_is_read_as_json_with_tabs_and_escaped_emoji(tmp_path, content):
    file = tmp_path / "questions.json"
    file.write_text(content, encoding="utf-8")
    assert load_mapping(file) == {"name": "🌊"}


def test_a_json_file_is_never_given_to_the_slow_reader_of_yaml(tmp_path, monkeypatch):
    file = tmp_path / "questions.JSON"
    file.write_text('{"name": "x"}', encoding="utf-8")
    monkeypatch.setattr(yaml, "load", None)
    assert load_mapping(file) == {"name": "x"}


@pytest.mark.parametrize(
    ("content", "message", "unquoted"),
    [
        ('{"a": 1,\n "a": 2}', "the field 'a' is written twice; keep one", "cannot be read: ValueError"),
        ('{"b": [{"a": 1, "a": 2}]}', "the field 'a' is written twice; keep one", "cannot be read: ValueError"),
        ('{"a":\n SECRET}', "not JSON: Expecting value, line 2, column 2.", "not JSON, line 2, column 2."),
        ("a: 1", "not JSON: Expecting value, line 1, column 1.", "not JSON, line 1, column 1."),
        ("[1]", "expected a mapping of fields at the top, found list", "found list"),
    ],
)
def test_a_faulty_json_file_is_an_error_that_says_where(tmp_path, content, message, unquoted):
    file = tmp_path / "questions.json"
    file.write_text(content, encoding="utf-8")
    with pytest.raises(SpecError) as told:
        load_mapping(file)
    with pytest.raises(SpecError) as hidden:
        load_mapping(file, quote=False)
    assert message in str(told.value)
    assert unquoted in str(hidden.value)
    assert "SECRET" not in str(hidden.value)


def test_a_file_that_is_not_there_is_an_error_with_the_fix(tmp_path: Any):
    with pytest.raises(SpecError, match=r"cannot be read: .*Give the path of a YAML file\."):
        load_yaml(TrainSpec, tmp_path / "none.yaml")
