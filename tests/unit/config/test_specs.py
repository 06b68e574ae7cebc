from __future__ import annotations

import json
import re
from typing import Any

import jsonschema
import pytest
from pydantic import ValidationError

from trialign_ray.config.base import Strict, parse
from trialign_ray.config.kinds import JOB_KINDS, SPEC, json_schema
from trialign_ray.config.preferences import RULE, Preference
from trialign_ray.config.protocols import MOST_TURNS, PROTOCOLS
from trialign_ray.config.tasks import AuditSpec, CollectSpec
from trialign_ray.config.train import LoraSpec, TrainSpec
from trialign_ray.errors import SpecError

from .samples import AUDIT, BRIEF, COLLECT, SERVER, TRAIN

KINDS: dict[str, tuple[type[Strict], dict[str, Any]]] = {
    "train": (TrainSpec, TRAIN),
    "audit": (AuditSpec, AUDIT),
    "collect": (CollectSpec, COLLECT),
}


def test_the_table_of_kinds_is_complete():
    assert {name: kind.spec for name, kind in JOB_KINDS.items()} == {name: model for name, (model, _) in KINDS.items()}


@pytest.mark.parametrize("kind", KINDS)
def test_the_kind_says_which_specification_it_is(kind):
    model, data = KINDS[kind]
    found = SPEC.validate_python(data)
    assert type(found) is model
    assert SPEC.validate_json(found.model_dump_json()) == found


@pytest.mark.parametrize("changes", [{"kind": "deploy"}, {"kind": None}])
def test_another_kind_is_refused_and_the_known_ones_are_named(changes):
    with pytest.raises(ValidationError, match="'train', 'audit', 'collect'"):
        SPEC.validate_python(TRAIN | changes)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["", "../up", "a/b", "Demo", "-x", "x" * 61, "x y", "x\n"])
def test_a_run_name_that_is_no_name_of_a_folder_and_an_actor_is_refused(kind, name):
    model, data = KINDS[kind]
    with pytest.raises(SpecError, match=r"field 'name': "):
        parse(model, data | {"name": name}, "here")


@pytest.mark.parametrize(
    ("field", "data"),
    [
        ("questions_per_step", {"questions_per_step": 0}),
        ("epochs", {"epochs": 0}),
        ("algorithm.trialign.utility.w_truth", {"algorithm": {"utility": {"w_truth": 0.5}}}),
        ("algorithm.trialign.inconsistency.coefficient", {"algorithm": {"inconsistency": {"coefficient": 1.5}}}),
        ("algorithm.trialign.loss", {"algorithm": {"loss": {"name": "ppo"}}}),
        ("algorithm.trialign.loss.awr.temperature", {"algorithm": {"loss": {"name": "awr", "temperature": 0}}}),
        ("algorithm.trialign.welfare.gini.decay", {"algorithm": {"welfare": {"family": "gini", "decay": 2}}}),
        ("algorithm.trialign.welfare.gini.alpha", {"algorithm": {"welfare": {"family": "gini", "alpha": 1}}}),
        ("algorithm.trialign.utility_decay", {"algorithm": {"utility_decay": 1}}),
        ("candidates.own", {"candidates": {"own": 0}}),
        ("lora.alpha", {"lora": {"alpha": float("inf")}}),
        ("lora.targets.tuple[str, ...]", {"lora": {"targets": []}}),
        ("optimizer.betas.1", {"optimizer": {"betas": [0.9, 1.0]}}),
        ("optimizer.clip_norm", {"optimizer": {"clip_norm": float("inf")}}),
        ("lora.rank", {"lora": {"rank": 0}}),
        ("optimizer.learning_rate", {"optimizer": {"learning_rate": float("nan")}}),
        ("learner.zero_stage", {"learner": {"zero_stage": 0}}),
        ("learner.dtype", {"learner": {"dtype": "float16"}}),
        ("evaluation.questions", {"evaluation": {"groups": "g"}}),
        ("checkpoint_every", {"checkpoint_every": "often"}),
    ],
)
def test_a_value_out_of_range_is_refused_by_the_path_of_its_field(field, data):
    with pytest.raises(SpecError, match=rf"^spec\.yaml: field '{re.escape(field)}': "):
        parse(TrainSpec, TRAIN | data, "spec.yaml")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"answers": "a"}, "give 'model', 'answers' or 'endpoint', one of the three"),
        ({"model": None}, "give 'model', 'answers' or 'endpoint', one of the three"),
        ({"endpoint": SERVER}, "give 'model', 'answers' or 'endpoint', one of the three"),
        ({"model": None, "endpoint": SERVER, "read": "score"}, "read 'score' asks a model; give 'model' instead"),
        ({"model": None, "answers": "a", "adapter": "x"}, "'adapter' goes on a 'model'; give both"),
        ({"split": "test"}, "field 'split'"),
        ({"bootstrap": 10}, "field 'bootstrap'"),
        ({"model": None, "answers": "a", "workers": 2}, "'workers' is of a model that is asked"),
        ({"read": "score", "generator": {"name": "vllm"}}, "'generator' is of answers that are generated"),
        ({"gpus_per_worker": 1.5}, "'gpus_per_worker' is 1.5; above 1 it is a whole number"),
        ({"gpus_per_worker": 0.5, "device": "cpu"}, "workers with GPUs run the model on them"),
    ],
)
def test_an_audit_has_one_source(changes, message):
    with pytest.raises(SpecError, match=message):
        parse(AuditSpec, AUDIT | changes, "audit.yaml")


@pytest.mark.parametrize(
    "changes", [{"model": None, "answers": "a"}, {"adapter": "x"}, {"model": None, "endpoint": SERVER}]
)
def test_an_audit_is_of_a_model_an_adapted_model_answers_or_a_server(changes):
    assert SPEC.validate_python(AUDIT | changes).kind == "audit"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"adapter": "full", "policy": "per_group"}, "'policy: per_group' is of adapters; all weights are everyone's"),
        ({"adapter": "full", "lora": {"rank": 8}}, "'lora' describes an adapter, and 'adapter: full' trains all"),
        ({"adapter": "none"}, "field 'adapter': must be 'lora' or 'full'"),
        ({"learner": {"offload_optimizer": True}}, "field 'learner': 'offload_optimizer' takes states off a GPU"),
        (
            {"learner": {"zero_stage": 3, "activation_checkpointing": "selective"}},
            "field 'learner': 'activation_checkpointing: selective' asks a layer for the same operations each time",
        ),
        ({"learner": {"activation_checkpointing": "all"}}, "must be False, True or 'selective'"),
        ({"learner": {"workers": 2, "min_workers": 3}}, "field 'learner': 'min_workers' is 3, more than 'workers', 2"),
    ],
)
def test_what_is_trained_and_by_how_many_is_consistent(changes, message):
    with pytest.raises(SpecError, match=message):
        parse(TrainSpec, TRAIN | changes, "train.yaml")


def test_all_weights_are_trained_where_that_is_asked():
    learner = {"workers": 8, "min_workers": 2, "gpu": True, "offload_optimizer": True}
    made = parse(TrainSpec, TRAIN | {"adapter": "full", "learner": learner}, "train.yaml")
    assert (made.trained, made.learner.fewest_workers) == ("full", 2)
    assert parse(TrainSpec, TRAIN, "train.yaml").trained == LoraSpec()


PLAYED = [(name, turns) for name in PROTOCOLS for turns in range(1, MOST_TURNS + 1)]


@pytest.mark.parametrize(("protocol", "turns"), PLAYED)
def test_a_protocol_has_its_turns(protocol, turns):
    changes = COLLECT | {"protocol": protocol, "turns": turns}
    allowed = PROTOCOLS[protocol].fewest <= turns <= PROTOCOLS[protocol].most
    assert jsonschema.Draft202012Validator(CollectSpec.model_json_schema()).is_valid(changes) == allowed
    if allowed:
        assert parse(CollectSpec, changes, "collect.yaml").turns == turns
        return
    with pytest.raises(SpecError, match=f"protocol '{protocol}' has .* turn.*, not {turns}; change 'turns' or"):
        parse(CollectSpec, changes, "collect.yaml")


def test_a_protocol_that_is_not_known_is_refused():
    with pytest.raises(SpecError, match=r"field 'protocol': .*'quarrel' is no protocol; choose one of independent, "):
        parse(CollectSpec, COLLECT | {"protocol": "quarrel"}, "collect.yaml")


@pytest.mark.parametrize("rule", [{"rule": "rhymes"}, {"words": 5}, {"rule": "max_words", "grade": 5}, {}])
def test_a_preference_that_is_no_rule_is_refused(rule):
    with pytest.raises(SpecError, match=r"field 'rule"):
        parse(Preference, BRIEF | {"rule": rule}, "groups.yaml")
    with pytest.raises(ValidationError):
        RULE.validate_python(rule)


def definitions() -> dict[str, Any]:
    found = json_schema()["$defs"]
    assert isinstance(found, dict)
    return found


def test_the_json_schema_tells_the_kinds_apart():
    found = json.loads(json.dumps(json_schema()))
    assert found["discriminator"]["propertyName"] == "kind"
    assert set(found["discriminator"]["mapping"]) == set(KINDS)


def test_the_json_schema_knows_the_fields_and_no_others():
    for model, data in KINDS.values():
        schema = definitions()[model.__name__]
        assert set(schema["properties"]) == set(model.model_fields)
        assert set(schema["required"]) == {name for name, field in model.model_fields.items() if field.is_required()}
        assert set(schema["required"]) <= set(data)
    assert all(schema["additionalProperties"] is False for schema in definitions().values() if "properties" in schema)


def test_the_json_schema_says_what_fields_mean_and_their_bounds():
    rank = definitions()["LoraSpec"]["properties"]["rank"]
    batch = definitions()["TrainSpec"]["properties"]["questions_per_step"]
    assert (rank["minimum"], rank["maximum"]) == (1, 512)
    assert "per optimizer step" in batch["description"]


def test_the_json_schema_says_of_every_field_what_it_means():
    silent = [
        f"{name}.{field}"
        for name, schema in definitions().items()
        for field, told in schema.get("properties", {}).items()
        if not told.get("description")
    ]
    assert silent == []


UNUSED = {
    **{"dtype": "float32", "device": "cpu", "generator": {"name": "transformers", "rows": 8}},
    **{"samples": 2, "temperature": 0.5, "max_new_tokens": 9, "chat_template_kwargs": {"a": 1}, "options": 5},
}
REFUSED = {
    "answers": [*UNUSED],
    "endpoint": ["dtype", "device", "generator", "options"],
    "score": ["generator", "temperature", "max_new_tokens", "samples"],
    "generate": ["options"],
}


@pytest.mark.parametrize("read", ["generate", "score"])
def test_workers_and_batches_are_of_answers_and_of_scored_options(read: str) -> None:
    given = AUDIT | {"read": read, "workers": 2, "gpus_per_worker": 0.5, "questions_per_batch": 64}
    assert jsonschema.Draft202012Validator(AuditSpec.model_json_schema()).is_valid(given)
    assert parse(AuditSpec, given, "spec").workers == 2


@pytest.mark.parametrize("name", UNUSED)
@pytest.mark.parametrize("kind", REFUSED)
def test_options_that_an_audit_would_not_use_are_refused_by_model_and_schema(kind: str, name: str) -> None:
    data: dict[str, Any] = {key: value for key, value in AUDIT.items() if key != "model"}
    sources: dict[str, dict[str, Any]] = {"answers": {"answers": "a.jsonl"}, "endpoint": {"endpoint": SERVER}}
    data |= sources.get(kind, {"model": "m", "read": kind})
    kept = AuditSpec.model_validate(data)
    assert AuditSpec.model_validate(kept.model_dump(mode="json")) == kept
    given = data | {name: UNUSED[name]}
    refused = name in REFUSED[kind]
    assert jsonschema.Draft202012Validator(AuditSpec.model_json_schema()).is_valid(given) != refused
    if refused:
        with pytest.raises(SpecError, match=rf"spec: (?=.*'{name}').*[Ll]eave"):
            parse(AuditSpec, given, "spec")
    else:
        parse(AuditSpec, given, "spec")
