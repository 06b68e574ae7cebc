"""A collection that is killed goes on, with the rows of one that was not; its dataset is never half visible."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest
import torch

from tests.chat_server import ChatServer, Reply, said
from tests.world import World
from trialign_ray.config.tasks import CollectSpec
from trialign_ray.config.train import LearnerSpec, LoraSpec
from trialign_ray.data.dataset import read_logs, verify, write_logs
from trialign_ray.data.validation import validate_logs
from trialign_ray.entrypoints.collect import collect, run_job
from trialign_ray.envs.rollout import play
from trialign_ray.errors import CheckpointError, DataError, LockedError, ModelError, SpecError
from trialign_ray.io.lock import locked
from trialign_ray.io.storage import locate
from trialign_ray.models.loading import adapter_hash, load_model
from trialign_ray.progress import Silent
from trialign_ray.trainer.policy import adapt

KEY = ("question_id", "group", "turn", "sample")
ORDER = [(name, "ascending") for name in KEY]


class KilledError(BaseException):
    """Stands for a signal: nothing catches it."""


class Batches:
    """Counts the batches that are played, and is killed before one of them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.played, self.last = 0, 99
        monkeypatch.setattr("trialign_ray.entrypoints.local_player.play", self)

    def __call__(self, *arguments: Any) -> pa.Table:
        if self.played == self.last:
            raise KilledError
        self.played += 1
        return play(*arguments)


@pytest.fixture
def batches(monkeypatch: pytest.MonkeyPatch) -> Batches:
    return Batches(monkeypatch)


def spec_of(world: World, output: Path, **changes: Any) -> CollectSpec:
    fields = {"name": "a", "model": world.model, "questions": world.questions, "groups": world.groups, "samples": 2}
    fields |= {"output": str(output), "max_new_tokens": 6, "questions_per_batch": 1, "protocol": "placebo", "turns": 2}
    return CollectSpec.model_validate(fields | changes)


def killed_after(batches: Batches, finished: int, spec: CollectSpec) -> None:
    batches.played, batches.last = 0, finished
    with pytest.raises(KilledError):
        collect(spec)
    batches.played, batches.last = 0, 99


def in_folder(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.mark.parametrize("changes", [{"protocol": "independent", "turns": 1}, {}])
def test_a_killed_collection_goes_on_and_gives_the_rows_of_one_that_was_not(
    world: World, tmp_path: Path, batches: Batches, changes: dict[str, Any]
) -> None:
    whole = spec_of(world, tmp_path / "whole", **changes)
    collect(whole)
    every, spec = batches.played, spec_of(world, tmp_path / "logs", **changes)
    killed_after(batches, every - 1, spec)
    assert in_folder(tmp_path) == {"whole", ".logs.begun"}
    collect(spec)
    assert batches.played == 1
    assert in_folder(tmp_path) == {"whole", "logs"}
    assert read_logs(spec.output).equals(read_logs(whole.output))
    assert verify(spec.output) == verify(whole.output)
    assert validate_logs(spec.output).ok


def test_what_was_finished_is_told_of(world: World, tmp_path: Path, batches: Batches) -> None:
    class Notes(Silent):
        def note(self, text: str) -> None:
            lines.append(text)

    lines: list[str] = []
    spec = spec_of(world, tmp_path / "logs", protocol="independent", turns=1)
    killed_after(batches, 3, spec)
    collect(spec, Notes())
    assert lines == ["3 of 4 batches were finished before"]


@pytest.mark.parametrize(
    ("changes", "field"),
    [({"temperature": 0.5}, "temperature"), ({"protocol": "debate"}, "protocol"), ({"dtype": "bfloat16"}, "dtype")],
)
def test_another_specification_is_refused_where_a_collection_was_begun(
    world: World, tmp_path: Path, batches: Batches, changes: dict[str, Any], field: str
) -> None:
    killed_after(batches, 1, spec_of(world, tmp_path / "logs"))
    with pytest.raises(CheckpointError, match=rf"\.logs\.begun: '{field}' is .* but the work was begun with"):
        collect(spec_of(world, tmp_path / "logs", overwrite=True, **changes))
    assert batches.played == 0


def test_the_same_questions_in_another_file_go_on_and_others_do_not(
    world: World, tmp_path: Path, batches: Batches
) -> None:
    killed_after(batches, 1, spec_of(world, tmp_path / "logs"))
    copy = tmp_path / "copy.yaml"
    copy.write_text(Path(world.questions).read_text().replace("capital of france", "chief city of france"))
    with pytest.raises(CheckpointError, match="'questions' is"):
        collect(spec_of(world, tmp_path / "logs", questions=str(copy)))
    copy.write_bytes(Path(world.questions).read_bytes())
    assert collect(spec_of(world, tmp_path / "logs", questions=str(copy), name="b")).rows == 4 * 3 * 2 * 2


def test_a_dataset_that_is_there_stays_until_the_new_one_is_whole(
    world: World, tmp_path: Path, batches: Batches
) -> None:
    spec = spec_of(world, tmp_path / "logs")
    before = collect(spec)
    with pytest.raises(DataError, match=r"field 'output': .*holds a log dataset\. Choose another path, or overwrite"):
        collect(spec)
    killed_after(batches, 1, spec_of(world, tmp_path / "logs", overwrite=True, seed=3))
    assert verify(spec.output) == before
    after = collect(spec_of(world, tmp_path / "logs", overwrite=True, seed=3))
    assert batches.played == 1
    assert after.content_sha256 != before.content_sha256


def test_a_retry_finds_the_dataset_that_the_attempt_before_it_wrote_and_takes_no_other_for_it(
    world: World, tmp_path: Path, batches: Batches, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever started the attempt may not have heard of its end."""
    spec = spec_of(world, tmp_path / "logs")
    before, played = collect(spec), batches.played
    monkeypatch.setenv("TRIALIGN_RESUME", "1")
    assert run_job(spec, Silent()) == 0
    assert run_job(spec.model_copy(update={"overwrite": True}), Silent()) == 0
    assert (verify(spec.output), batches.played) == (before, played)
    with pytest.raises(DataError, match="holds a log dataset"):
        run_job(spec.model_copy(update={"seed": 3}), Silent())
    write_logs(read_logs(spec.output), spec.output, ("neutral", "farmer", "professor"), overwrite=True)
    with pytest.raises(DataError, match="holds a log dataset"):
        run_job(spec, Silent())


def test_two_processes_do_not_write_one_dataset(world: World, tmp_path: Path) -> None:
    with (
        locked(locate(tmp_path / ".logs.begun"), "collection"),
        pytest.raises(LockedError, match="the work is locked by another process; wait for it to finish"),
    ):
        collect(spec_of(world, tmp_path / "logs"))


def test_a_placebo_needs_two_questions(world: World, tmp_path: Path) -> None:
    one = json.loads(json.dumps({"name": "one", "questions": [{"question_id": "a", "text": "what ?", "split": "train",
                                                                "kind": "subjective"}]}))  # fmt: skip
    (tmp_path / "one.json").write_text(json.dumps(one))
    with pytest.raises(DataError, match="field 'questions': only question 'a' is asked"):
        collect(spec_of(world, tmp_path / "logs", questions=str(tmp_path / "one.json")))


def test_workers_are_not_for_a_server(world: World, tmp_path: Path) -> None:
    endpoint = {"url": "http://h/v1", "model": "m"}
    with pytest.raises(ValueError, match=r"a server takes 'endpoint\.concurrency' instead"):
        spec_of(world, tmp_path / "logs", endpoint=endpoint, workers=2)


def test_an_engine_that_does_not_exist_is_refused_and_leaves_no_dataset(world: World, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="field 'generator': import_path 'nowhere:Engine'"):
        collect(spec_of(world, tmp_path / "logs", generator={"name": "import_path", "import_path": "nowhere:Engine"}))
    assert not (tmp_path / "logs").exists()


@pytest.mark.parametrize("protocol", ["plurality", "placebo"])
def test_a_server_s_rows_do_not_depend_on_the_batches(world: World, tmp_path: Path, protocol: str) -> None:
    def says(body: Mapping[str, Any], number: int) -> Reply:
        return said(f"{'lima' if body['seed'] % 2 else 'paris'} {len(body['messages'][-1]['content'])}")

    tables = []
    with ChatServer(says) as server:
        for size in (1, 8):
            endpoint = {"url": server.url, "model": "m", "cache": str(tmp_path / "cache")}
            spec = spec_of(world, tmp_path / f"{size}", endpoint=endpoint, questions_per_batch=size, protocol=protocol)
            collect(spec)
            tables.append(read_logs(spec.output).sort_by(ORDER))
    assert tables[0].equals(tables[1])
    assert {len(peers) for peers in tables[0]["peers"].to_pylist()} == {0, 2}


@pytest.mark.parametrize("served_", [False, True])
def test_what_logs_lack_is_asked_and_nothing_else(world: World, tmp_path: Path, served_: bool) -> None:
    whole = spec_of(world, tmp_path / "whole", protocol="independent", turns=1)
    collect(whole)
    rows = read_logs(whole.output)
    had = rows.filter(pc.or_(pc.equal(rows["group"], "farmer"), pc.equal(rows["question_id"], "2-egypt")))
    write_logs(had, tmp_path / "had", ("neutral", "farmer", "professor"))
    with ChatServer(lambda body, number: said("lima .")) as server:
        changes = {"endpoint": {"url": server.url, "model": "m", "cache": str(tmp_path / "cache")}} if served_ else {}
        spec = whole.model_copy(update={"output": str(tmp_path / "rest"), "unasked_in": str(tmp_path / "had")})
        spec = CollectSpec.model_validate(spec.model_dump() | changes)
        collect(spec)
    asked = {(row["question_id"], row["group"], row["sample"]) for row in read_logs(spec.output).to_pylist()}
    before = {(row["question_id"], row["group"], row["sample"]) for row in had.to_pylist()}
    assert asked.isdisjoint(before)
    assert asked | before == {(row["question_id"], row["group"], row["sample"]) for row in rows.to_pylist()}
    if not served_:
        assert pa.concat_tables([read_logs(spec.output), had]).sort_by(ORDER).equals(rows.sort_by(ORDER))


def test_complete_logs_leave_nothing_to_ask_and_later_turns_want_all_groups(world: World, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"field 'unasked_in': .*every group was asked all of these questions"):
        collect(spec_of(world, tmp_path / "logs", protocol="independent", turns=1, unasked_in=world.logs))
    with pytest.raises(ValueError, match="'unasked_in' leaves groups out, and later turns show what all have said"):
        spec_of(world, tmp_path / "logs", unasked_in=world.logs)


def test_an_adapter_answers_and_its_rows_name_both(world: World, tmp_path: Path) -> None:
    policy = adapt(load_model(world.model, "float32", "eager"), LoraSpec(rank=4), LearnerSpec(), seed=1)
    with torch.no_grad():
        for parameter in policy.trainable():
            parameter.add_(0.5)
    adapter = tmp_path / "adapter"
    policy.model.save_pretrained(str(adapter), safe_serialization=True)
    plain, adapted = (
        spec_of(world, tmp_path / name, adapter=given, protocol="cooperative")
        for name, given in (("plain", None), ("adapted", str(adapter)))
    )
    hashes = [collect(spec).model_hashes for spec in (plain, adapted)]
    assert hashes[1] == (f"{hashes[0][0]}+{adapter_hash(adapter)}",)
    assert read_logs(plain.output)["response_ids"] != read_logs(adapted.output)["response_ids"]
    with pytest.raises(ModelError, match=r"field 'adapter': .*no adapter_config\.json"):
        collect(spec_of(world, tmp_path / "none", adapter=world.model))
    with pytest.raises(ValueError, match="'adapter' goes on the model in the folder, and a server answers"):
        spec_of(world, tmp_path / "none", adapter="a", endpoint={"url": "http://h/v1", "model": "m"})
