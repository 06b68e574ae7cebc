"""A filesystem that counts the bytes that are read from its files and written to them."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import fs

from trialign_ray.io.storage import Location


class CountingFiles(fs.FileSystemHandler):  # type: ignore[misc]
    """The files of a local folder as those of a remote filesystem, with the bytes that were read and written."""

    def __init__(self, folder: Path, unreadable: str | None = None) -> None:
        """unreadable: name of files that are listed, and fail when they are opened."""
        self._unreadable = unreadable
        self._files = fs.SubTreeFileSystem(str(folder), fs.LocalFileSystem())
        self._folder = folder
        self.bytes_read = self.bytes_written = 0

    def location(self, name: str) -> Location:
        """The file or folder `name`, remote as far as the package can tell."""
        return Location(fs.PyFileSystem(self), name, f"mem://{name}")

    def open_input_file(self, path: str) -> pa.NativeFile:
        if Path(path).name == self._unreadable:
            raise OSError(errno.EIO, "Input/output error")
        return pa.PythonFile(_CountingFile(self, (self._folder / path).open("rb")), mode="r")

    open_input_stream = open_input_file

    def get_type_name(self) -> str:
        return "counting"

    def normalize_path(self, path: str) -> str:
        return path

    def get_file_info(self, paths: list[str]) -> list[fs.FileInfo]:
        return list(self._files.get_file_info(paths))

    def get_file_info_selector(self, selector: fs.FileSelector) -> list[fs.FileInfo]:
        return list(self._files.get_file_info(selector))

    def open_output_stream(self, path: str, metadata: object) -> pa.NativeFile:
        return pa.PythonFile(_CountingFile(self, (self._folder / path).open("wb")), mode="w")

    def create_dir(self, path: str, recursive: bool) -> None:
        self._files.create_dir(path, recursive=recursive)

    def delete_dir(self, path: str) -> None:
        self._files.delete_dir(path)

    def _refuse(self, *_: Any) -> None:
        raise NotImplementedError

    delete_dir_contents = delete_root_dir_contents = delete_file = move = copy_file = open_append_stream = _refuse


class _CountingFile:
    def __init__(self, owner: CountingFiles, file: Any) -> None:
        self._owner, self._file = owner, file

    def read(self, size: int = -1) -> bytes:
        piece = bytes(self._file.read(size))
        self._owner.bytes_read += len(piece)
        return piece

    def write(self, data: bytes) -> int:
        self._owner.bytes_written += len(data)
        return int(self._file.write(data))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)
