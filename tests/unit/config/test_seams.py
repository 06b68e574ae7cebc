"""An import path names an object, or the error says what to do."""

from __future__ import annotations

import collections
from typing import Annotated, Literal, get_args

import pytest
from pydantic import TypeAdapter, ValidationError

from trialign_ray.config.algorithm import ALGORITHMS
from trialign_ray.config.base import Strict
from trialign_ray.config.losses import LOSSES
from trialign_ray.config.preferences import RULES
from trialign_ray.config.seams import Entry, ImportedSpec, OneOf, build, load_object
from trialign_ray.config.welfare import WELFARES
from trialign_ray.errors import SpecError


def test_an_import_path_gives_the_object() -> None:
    assert load_object("collections:OrderedDict") is collections.OrderedDict


@pytest.mark.parametrize("path", ["no_such_package:name", "collections:NoSuchName"])
def test_what_cannot_be_imported_is_reported(path: str) -> None:
    with pytest.raises(SpecError, match=f"import_path '{path}'"):
        load_object(path)


@pytest.mark.parametrize("path", ["os.system", ":x", "a:b:c", "a b:c", "../x:y", "a:b.c", "a:1"])
def test_what_is_no_import_path_is_refused(path: str) -> None:
    with pytest.raises(ValidationError, match="import_path"):
        ImportedSpec(import_path=path)


class CounterSpec(Strict):
    """A specification of `collections.Counter`."""

    name: Literal["counter"] = "counter"
    red: int = 1
    blue: int = 2


COUNTERS = {"counter": Entry(CounterSpec, "collections:Counter")}
CHOICE: TypeAdapter[Strict] = TypeAdapter(Annotated[Strict, OneOf(COUNTERS)])
DEFAULT: TypeAdapter[Strict] = TypeAdapter(Annotated[Strict, OneOf(COUNTERS, default="counter")])


@pytest.mark.parametrize(
    ("entries", "key"), [(LOSSES, "name"), (WELFARES, "family"), (RULES, "rule"), (ALGORITHMS, "name")]
)
def test_every_entry_is_there_under_the_name_that_its_specification_has(entries: dict[str, Entry], key: str) -> None:
    for name, entry in entries.items():
        assert get_args(entry.spec.model_fields[key].annotation) == (name,)
        assert callable(load_object(entry.import_path))


def test_a_field_takes_any_entry_or_an_import_and_keeps_it_through_json() -> None:
    for data in ({"name": "counter", "red": 5}, {"name": "import_path", "import_path": "collections:Counter"}):
        spec = CHOICE.validate_python(data)
        assert CHOICE.validate_json(CHOICE.dump_json(spec)) == spec


@pytest.mark.parametrize("data", [{"name": "other"}, {"name": "counter", "green": 1}, {}, None])
def test_what_is_no_entry_is_refused(data: object) -> None:
    with pytest.raises(ValidationError):
        CHOICE.validate_python(data)


def test_a_default_is_taken_where_the_name_is_left_out_and_no_value_is_changed() -> None:
    data = {"red": 5}
    assert DEFAULT.validate_python(data) == CounterSpec(red=5)
    assert data == {"red": 5}
    with pytest.raises(ValidationError):
        DEFAULT.validate_python({"name": "other"})


def test_the_json_schema_names_every_choice_and_its_fields() -> None:
    schema = DEFAULT.json_schema()
    assert set(schema["discriminator"]["mapping"]) == {"counter", "import_path"}
    assert set(schema["$defs"]["CounterSpec"]["properties"]) == {"name", "red", "blue"}


@pytest.mark.parametrize(("choice", "named"), [(CHOICE, {"counter", "import_path"}), (DEFAULT, {"import_path"})])
def test_the_json_schema_asks_for_a_name_where_the_choice_does(choice: TypeAdapter[Strict], named: set[str]) -> None:
    schema = choice.json_schema()
    of = {name: schema["$defs"][ref.split("/")[-1]] for name, ref in schema["discriminator"]["mapping"].items()}
    assert {name for name, one in of.items() if "name" in one.get("required", ())} == named
    assert all(len(one.get("required", ())) == len(set(one.get("required", ()))) for one in of.values())


def test_an_implementation_is_called_with_the_other_fields_of_its_specification() -> None:
    assert build(COUNTERS, CounterSpec(red=3)) == collections.Counter(red=3, blue=2)
    assert build(COUNTERS, ImportedSpec(import_path="collections:Counter", options={"red": 4})) == {"red": 4}


def test_options_that_do_not_fit_the_signature_are_an_error_that_names_the_import() -> None:
    with pytest.raises(SpecError, match=r"import_path 'collections:namedtuple': cannot be called .* Correct 'options'"):
        build({}, ImportedSpec(import_path="collections:namedtuple", options={"red": 4}))
