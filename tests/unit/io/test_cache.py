"""A remote folder becomes a local copy, once for each of its states; a local one stays where it is."""

from __future__ import annotations

import fcntl
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO

import pytest
from pyarrow import fs

from trialign_ray.errors import DataError
from trialign_ray.io.cache import cache_folder, local_folder, upload_folder
from trialign_ray.io.storage import Location, copy_in, locate

from .counting import CountingFiles


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TRIALIGN_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What a remote filesystem holds; `mem://NAME` is the folder NAME in it."""
    folder = tmp_path / "bucket"
    folder.mkdir()

    def located(uri: str) -> Location:
        return remote(folder, uri.removeprefix("mem://")) if str(uri).startswith("mem://") else locate(uri)

    monkeypatch.setattr("trialign_ray.io.cache.locate", located)
    return folder


def remote(folder: Path, name: str) -> Location:
    return Location(fs.SubTreeFileSystem(str(folder), fs.LocalFileSystem()), name, f"mem://{name}")


def fill(folder: Path, **files: str) -> Path:
    (folder / "deep").mkdir(parents=True)
    (folder / "deep" / "inner.txt").write_text("inner")
    for name, text in files.items():
        (folder / name).write_text(text)
    return folder


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_cache_is_where_the_environment_says(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cache_folder() == cache
    monkeypatch.setenv("TRIALIGN_CACHE", "~/elsewhere")
    assert cache_folder() == Path.home() / "elsewhere"
    monkeypatch.delenv("TRIALIGN_CACHE")
    assert cache_folder() == Path.home() / ".cache" / "trialign"


def test_a_local_folder_is_itself_by_path_and_by_uri(tmp_path: Path, cache: Path) -> None:
    folder = fill(tmp_path / "model", config="{}")
    assert local_folder(str(folder)) == local_folder(folder.as_uri()) == folder
    assert not cache.exists()


def test_a_remote_folder_is_copied_whole_into_the_cache(bucket: Path, cache: Path) -> None:
    fill(bucket / "model", config="{}")
    copy = local_folder("mem://model")
    assert copy.is_relative_to(cache)
    assert content(copy) == content(bucket / "model")
    assert list(copy.parent.iterdir()) == [copy]


def test_the_same_state_is_copied_once_and_another_anew(bucket: Path) -> None:
    fill(bucket / "model", config="{}")
    first = local_folder("mem://model")
    (first / "mark").touch()
    assert local_folder("mem://model") == first
    assert (first / "mark").exists()
    (bucket / "model" / "config").write_text("{ }")
    second = local_folder("mem://model")
    assert second != first
    assert (second / "config").read_text() == "{ }"


def test_a_copy_is_found_without_reading_a_byte(tmp_path: Path) -> None:
    fill(tmp_path / "bucket" / "model", weights="abc" * 1000)
    files = CountingFiles(tmp_path / "bucket")
    copy = local_folder(files.location("model"))
    assert files.bytes_read == 3000 + len("inner")
    assert local_folder(files.location("model")) == copy
    assert files.bytes_read == 3000 + len("inner")


def test_other_bytes_of_the_same_length_are_another_copy(bucket: Path) -> None:
    fill(bucket / "model", config="old")
    first = local_folder("mem://model")
    (bucket / "model" / "config").write_text("new")
    os.utime(bucket / "model" / "config", ns=(0, (bucket / "model" / "config").stat().st_mtime_ns + 1))
    second = local_folder("mem://model")
    assert ((first / "config").read_text(), (second / "config").read_text()) == ("old", "new")


def test_folders_of_two_names_have_a_copy_each(bucket: Path) -> None:
    for name in ("one", "two"):
        fill(bucket / name, config="{}")
        for file in (bucket / name).rglob("*"):
            os.utime(file, ns=(0, 0))
    assert local_folder("mem://one") != local_folder("mem://two")


def test_a_store_without_modification_times_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path / "bucket" / "model", config="{}")
    undated = [fs.FileInfo("model/config", fs.FileType.File, size=2)]
    monkeypatch.setattr(CountingFiles, "get_file_info_selector", lambda *_: undated)
    with pytest.raises(DataError, match=r"mem://model: .*no modification times.*local path"):
        local_folder(CountingFiles(tmp_path / "bucket").location("model"))


def test_a_folder_that_changes_while_it_is_copied_is_no_copy(
    bucket: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(bucket / "model", config="{}")
    copy_files = fs.copy_files

    def overtaken(source: str, target: str, **how: object) -> None:
        copy_files(source, target, **how)
        (bucket / "model" / "config").write_text("{ }")

    monkeypatch.setattr(fs, "copy_files", overtaken)
    with pytest.raises(DataError, match="mem://model: was changed while it was copied"):
        local_folder("mem://model")
    assert list((cache / "copies").iterdir()) == []


def test_the_names_of_files_count_too(bucket: Path) -> None:
    fill(bucket / "one", a="x", b="y")
    fill(bucket / "two", a="y", b="x")
    assert local_folder("mem://one") != local_folder("mem://two")


def test_of_many_that_want_a_copy_one_makes_it_and_the_others_wait(
    bucket: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(bucket / "model", config="{}")
    wanting, copies = threading.Barrier(4), []
    copy_files, flock = fs.copy_files, fcntl.flock

    def counted(source: str, target: str, **how: object) -> None:
        copies.append(target)
        copy_files(source, target, **how)

    def together(handle: IO[str], operation: int) -> None:
        wanting.wait(timeout=60)  # all four have found no copy
        flock(handle, operation)

    monkeypatch.setattr(fs, "copy_files", counted)
    monkeypatch.setattr("trialign_ray.io.cache.fcntl.flock", together)
    with ThreadPoolExecutor(4) as threads:
        found = set(threads.map(local_folder, ["mem://model"] * 4))
    assert len(found) == len(copies) == 1
    assert content(found.pop()) == content(bucket / "model")


def test_what_a_killed_process_left_of_a_copy_is_replaced(bucket: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(bucket / "model", config="{}")
    made = local_folder("mem://model")
    left = made.rename(made.parent / f".{made.name}.partial")
    (left / "half").write_text("half")
    assert local_folder("mem://model") == made
    assert content(made) == content(bucket / "model")
    assert list(made.parent.iterdir()) == [made]


def test_a_copy_that_breaks_off_leaves_nothing(bucket: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(bucket / "model", config="{}")

    def broken(source: str, target: str, **how: object) -> None:
        (Path(target) / "half").write_text("half")
        raise OSError("connection lost")

    monkeypatch.setattr(fs, "copy_files", broken)
    with pytest.raises(DataError, match="mem://model: cannot be read: connection lost"):
        local_folder("mem://model")
    assert list((cache / "copies").iterdir()) == []


def test_a_remote_folder_that_is_not_there_is_named(bucket: Path) -> None:
    with pytest.raises(DataError, match="mem://nowhere: no such file"):
        local_folder("mem://nowhere")


def test_an_upload_is_the_folder_at_the_target(bucket: Path, tmp_path: Path) -> None:
    source = fill(tmp_path / "export", weights="abc")
    upload_folder(source, remote(bucket, "runs/demo/adapter"))
    assert content(bucket / "runs" / "demo" / "adapter") == content(source)


def test_an_upload_that_is_cut_short_lacks_the_file_that_goes_last(
    bucket: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = fill(tmp_path / "export", weights="abc")
    (source / "done.json").write_text("{}")
    copied = list[str]()

    def cut_short(file: Path, target: Location) -> None:
        if len(copied) == 2:
            raise OSError("connection lost")
        copied.append(file.name)
        copy_in(file, target)

    monkeypatch.setattr("trialign_ray.io.cache.copy_in", cut_short)
    with pytest.raises(DataError, match="connection lost"):
        upload_folder(source, remote(bucket, "runs/demo/adapter"), last="done.json")
    assert len(copied) == 2
    assert not (bucket / "runs" / "demo" / "adapter" / "done.json").exists()
    monkeypatch.undo()
    upload_folder(source, remote(bucket, "runs/demo/adapter"), last="done.json")
    assert content(bucket / "runs" / "demo" / "adapter") == content(source)


def test_an_upload_to_a_local_folder_leaves_nothing_beside_it(tmp_path: Path) -> None:
    source, target = fill(tmp_path / "export", weights="abc"), tmp_path / "runs" / "demo" / "adapter"
    upload_folder(source, locate(target))
    assert content(target) == content(source)
    assert list(target.parent.iterdir()) == [target]


def test_an_upload_that_fails_names_the_target(tmp_path: Path, bucket: Path) -> None:
    (bucket / "taken").write_text("a file")
    with pytest.raises(DataError, match="mem://taken/adapter: cannot be written"):
        upload_folder(fill(tmp_path / "export"), remote(bucket, "taken/adapter"))
