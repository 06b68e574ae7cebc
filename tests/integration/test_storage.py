"""A run whose logs, model and run folder lie on an object store: a real S3 server on this machine, spoken to by URI."""

from __future__ import annotations

import json
import logging
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from moto.server import ThreadedMotoServer
from tensorboardX.proto.event_pb2 import SessionLog

from tests.integration.conftest import beside, kill_one
from tests.processes import LEARNER
from tests.unit.trainer.test_metric_writers import events
from tests.world import LONG, LONG_STEPS, Losses, World, losses
from trialign_ray.config.train import TrainSpec
from trialign_ray.data.dataset import read_logs
from trialign_ray.entrypoints.export import export
from trialign_ray.entrypoints.train import train
from trialign_ray.errors import DataError
from trialign_ray.evaluation.report.report import TrainingReport, from_json
from trialign_ray.io.cache import local_folder, upload_folder
from trialign_ray.io.run_folder import RunFolder
from trialign_ray.io.storage import locate
from trialign_ray.models.loading import load_policy

pytestmark = [pytest.mark.integration, pytest.mark.long]

CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "trialign",
    "AWS_SECRET_ACCESS_KEY": "trialign-secret",
    "AWS_EC2_METADATA_DISABLED": "true",
}


@dataclass(frozen=True)
class Bucket:
    """Everything that a run reads and writes, on the server."""

    address: str

    def uri(self, name: str) -> str:
        return f"s3://trialign/{name}?region=us-east-1&scheme=http&endpoint_override={self.address}"

    def spec(self, world: World, name: str, **changes: object) -> TrainSpec:
        uris = {name: self.uri(name) for name in ("model", "logs", "runs")}
        return world.train_spec(name, **uris | LONG | changes)


@pytest.fixture(scope="module")
def bucket(world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bucket]:
    """The world's model and logs on a server; the environment has what every process needs to reach it."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in CREDENTIALS.items():
            patch.setenv(name, value)
        patch.setenv("TRIALIGN_CACHE", str(tmp_path_factory.mktemp("cache")))
        bucket = Bucket("{}:{}".format(*server.get_host_and_port()))
        locate(bucket.uri("") + "&allow_bucket_creation=true").filesystem.create_dir("trialign")
        upload_folder(Path(world.model), locate(bucket.uri("model")))
        upload_folder(Path(world.logs), locate(bucket.uri("logs")))
        yield bucket
    server.stop()


@pytest.fixture(scope="module", autouse=True)
def workers(bucket: Bucket, local_ray: None) -> None:
    """Ray starts after the environment is set: its workers inherit it."""


@dataclass(frozen=True)
class Done:
    """A run that came to its end, and the seconds that it took."""

    spec: TrainSpec
    seconds: float

    @property
    def folder(self) -> RunFolder:
        return RunFolder.of(self.spec)


@pytest.fixture(scope="module")
def stopped_and_resumed(world: World, bucket: Bucket, workers: None) -> Done:
    """A run that got SIGINT after its first checkpoint and was continued, when one of its learners was killed."""
    spec, started = bucket.spec(world, "stopped", evaluation=world.evaluation), time.monotonic()
    with beside(spec, lambda: os.kill(os.getpid(), signal.SIGINT)):
        stopped = train(spec)
    assert not stopped.finished
    assert 0 < stopped.step < LONG_STEPS
    with beside(spec, lambda: kill_one(LEARNER), beyond=stopped.step):
        resumed = train(spec, resume=True)
    assert resumed.finished
    assert resumed.step == LONG_STEPS
    return Done(spec, time.monotonic() - started)


def test_stopped_and_resumed_run_has_the_losses_of_one_on_the_local_disk(
    stopped_and_resumed: Done, undisturbed: Losses
) -> None:
    assert losses(stopped_and_resumed.spec) == undisturbed


def test_report_and_answers_are_read_from_the_store(stopped_and_resumed: Done) -> None:
    folder = stopped_and_resumed.folder
    file = folder.part("report.json")
    report = from_json(file.filesystem.open_input_stream(file.path).read().decode())
    assert isinstance(report, TrainingReport)
    assert set(report.base.accuracy_by_group) == {"neutral", "farmer", "professor"}
    assert read_logs(folder.part("answers/trained")).num_rows == read_logs(folder.part("answers/base")).num_rows > 0


def test_report_counts_the_time_of_both_invocations(stopped_and_resumed: Done) -> None:
    file = stopped_and_resumed.folder.part("report.json")
    wall = json.loads(file.filesystem.open_input_stream(file.path).read())["run"]["wall_seconds"]
    assert 0.8 * stopped_and_resumed.seconds < wall <= stopped_and_resumed.seconds


def test_tensorboard_files_of_every_start_are_on_the_store(stopped_and_resumed: Done) -> None:
    """Each start of the learners begins anew in them, and together they have every step once."""
    held = events(local_folder(stopped_and_resumed.folder.part("tensorboard")))
    assert sum(event.session_log.status == SessionLog.START for event in held) == 3
    stored = {event.step: value.simple_value for event in held for value in event.summary.value if value.tag == "loss"}
    assert stored == pytest.approx(dict(losses(stopped_and_resumed.spec)), rel=1e-6)


def test_adapter_is_exported_on_the_store_and_loads(bucket: Bucket, stopped_and_resumed: Done) -> None:
    exported = export(bucket.uri("runs/stopped"))
    assert exported.adapter == "s3://trialign/runs/stopped/export/adapter"
    adapter = local_folder(bucket.uri("runs/stopped/export/adapter"))
    policy = load_policy(local_folder(bucket.uri("model")), adapter, "float32")
    assert any("lora" in name and weight.abs().sum() > 0 for name, weight in policy.named_parameters())


def test_bucket_that_is_not_there_is_named(world: World, bucket: Bucket) -> None:
    nowhere = bucket.uri("logs").replace("s3://trialign/", "s3://elsewhere/")
    with pytest.raises(DataError, match="s3://elsewhere/logs"):
        train(bucket.spec(world, "nowhere", logs=nowhere))
