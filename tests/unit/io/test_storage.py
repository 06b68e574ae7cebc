from __future__ import annotations

import io

import pytest
from pyarrow import fs

from trialign_ray.errors import DataError
from trialign_ray.io.storage import Location, atomic_file, beside, locate, writing


@pytest.fixture(params=["local", "remote"])
def folder(request, tmp_path):
    if request.param == "local":
        return locate(tmp_path)
    return Location(fs.SubTreeFileSystem(str(tmp_path), fs.LocalFileSystem()), "", "mem://bucket")


def test_a_file_appears_when_its_block_ends(folder, tmp_path):
    with atomic_file(folder.child("a.txt")) as file:
        file.write(b"whole")
        assert not (tmp_path / "a.txt").exists()
    assert (tmp_path / "a.txt").read_bytes() == b"whole"
    assert len(list(tmp_path.iterdir())) == 1


def write_half(target: Location) -> None:
    with writing(target.uri), atomic_file(target) as file:
        file.write(b"half")
        raise OSError("no space")


def test_a_block_that_fails_leaves_the_old_file(folder, tmp_path):
    (tmp_path / "a.txt").write_text("old")
    with pytest.raises(DataError, match=r"a\.txt: cannot be written: no space"):
        write_half(folder.child("a.txt"))
    assert (tmp_path / "a.txt").read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 1


def test_an_upload_that_breaks_off_is_not_left_half(tmp_path, monkeypatch):
    class Broken(io.BytesIO):
        def read(self, size=-1):
            if self.tell() > 0:
                raise OSError("read error")
            return super().read(3)

    remote = Location(fs.SubTreeFileSystem(str(tmp_path), fs.LocalFileSystem()), "a.txt", "mem://bucket/a.txt")
    monkeypatch.setattr("trialign_ray.io.storage.tempfile.TemporaryFile", Broken)
    with pytest.raises(OSError, match="read error"), atomic_file(remote) as file:
        file.write(b"a whole file")
    assert list(tmp_path.iterdir()) == []


def test_a_path_and_its_uri_are_the_same_location(tmp_path):
    assert locate(tmp_path / "a b").path == locate((tmp_path / "a b").as_uri()).path == str(tmp_path / "a b")
    assert locate(locate(tmp_path)) == locate(tmp_path)


def test_a_location_beside_another_is_on_the_same_filesystem():
    location = beside("s3://key:secret@bucket/logs/?region=us-east-1", ".rejects.jsonl")
    assert (location.path, location.uri) == ("bucket/logs.rejects.jsonl", "s3://bucket/logs.rejects.jsonl")
    assert isinstance(location.filesystem, fs.S3FileSystem)
