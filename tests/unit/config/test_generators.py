"""What engines promise, and where one is refused that does not promise enough."""

from __future__ import annotations

from typing import Any

import pytest

from docs.engines import PAGE, table
from docs.engines import written as with_table
from tests.unit.config.samples import COMPARE, TRAIN
from trialign_ray.config.base import Strict, parse
from trialign_ray.config.compare import CompareSpec
from trialign_ray.config.endpoint import RecordedEndpointSpec
from trialign_ray.config.generators import GENERATORS, Promises, promises_of
from trialign_ray.config.seams import ImportedSpec
from trialign_ray.config.train import TrainSpec
from trialign_ray.errors import SpecError

SETS = {"questions": "q.json", "groups": "g.yaml"}


def test_the_page_on_engines_has_the_table_of_what_they_promise() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert table() in page
    assert page == with_table(page), "Run `python -m docs.engines`."


def test_every_engine_is_in_the_table() -> None:
    assert all(f"{{name: {name}}}" in table() for name in GENERATORS)


def test_an_imported_engine_promises_what_the_protocol_asks() -> None:
    found = promises_of(ImportedSpec(import_path="package.module:Engine"))
    assert found == Promises(ids=True, logprobs=True, seeds="response", adapters="merged", runs="process")


@pytest.mark.parametrize(("logprobs", "given"), [("absent", False), ("raw", True), ("processed", True)])
def test_a_server_promises_ids_and_log_probs_where_it_is_said_to_give_them(logprobs: Any, given: bool) -> None:
    found = RecordedEndpointSpec(url="http://h/v1", model="m", logprobs=logprobs).promises
    assert (found.ids, found.logprobs, found.seeds) == (given, given, "asked")


@pytest.mark.parametrize(
    ("spec", "data"),
    [
        (TrainSpec, {**TRAIN, "evaluation": {**SETS, "generator": {"name": "vllm"}}}),
        (CompareSpec, {**COMPARE, "evaluation": {**SETS, "generator": {"name": "vllm"}}}),
    ],
)
def test_inside_a_worker_only_engines_that_run_there_are_taken(spec: type[Strict], data: dict[str, Any]) -> None:
    with pytest.raises(SpecError, match=r"field 'evaluation\.generator': .*'transformers', 'continuous_batching'"):
        parse(spec, data, "here")
