"""A remote folder becomes a local copy, once for the same content; a local one stays where it is."""

from __future__ import annotations

from pathlib import Path

import pytest
from pyarrow import fs

from trialign_ray.errors import DataError
from trialign_ray.io.cache import cache_folder, local_folder, upload_folder
from trialign_ray.io.storage import Location, locate


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


def test_the_same_content_is_copied_once_and_other_content_anew(bucket: Path) -> None:
    fill(bucket / "model", config="{}")
    first = local_folder("mem://model")
    (first / "mark").touch()
    assert local_folder("mem://model") == first
    assert (first / "mark").exists()
    (bucket / "model" / "config").write_text("{ }")
    second = local_folder("mem://model")
    assert second != first
    assert (second / "config").read_text() == "{ }"


def test_folders_with_the_same_files_at_two_places_share_a_copy(bucket: Path) -> None:
    for name in ("one", "two"):
        fill(bucket / name, config="{}")
    assert local_folder("mem://one") == local_folder("mem://two")


def test_the_names_of_files_are_content_too(bucket: Path) -> None:
    fill(bucket / "one", a="x", b="y")
    fill(bucket / "two", a="y", b="x")
    assert local_folder("mem://one") != local_folder("mem://two")


def test_a_copy_that_another_process_made_first_is_used(
    bucket: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(bucket / "model", config="{}")
    made = local_folder("mem://model")
    (made / "mark").touch()
    made.rename(tmp_path / "aside")
    copy_files = fs.copy_files

    def raced(source: str, target: str, **how: object) -> None:
        copy_files(source, target, **how)
        (tmp_path / "aside").rename(made)

    monkeypatch.setattr(fs, "copy_files", raced)
    assert local_folder("mem://model") == made
    assert (made / "mark").exists()
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


def test_an_upload_to_a_local_folder_leaves_nothing_beside_it(tmp_path: Path) -> None:
    source, target = fill(tmp_path / "export", weights="abc"), tmp_path / "runs" / "demo" / "adapter"
    upload_folder(source, locate(target))
    assert content(target) == content(source)
    assert list(target.parent.iterdir()) == [target]


def test_an_upload_that_fails_names_the_target(tmp_path: Path, bucket: Path) -> None:
    (bucket / "taken").write_text("a file")
    with pytest.raises(DataError, match="mem://taken/adapter: cannot be written"):
        upload_folder(fill(tmp_path / "export"), remote(bucket, "taken/adapter"))
