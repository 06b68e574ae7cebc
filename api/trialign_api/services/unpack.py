"""What the check of an upload does for each purpose. It runs confined: nothing here trusts a byte.

Models and adapters come as tar archives. Only names that a folder of Hugging Face has come out of one, no link, no
program, no pickle, and weights as safetensors alone; a header that does not fit its file is refused here and not where
the model is loaded.
"""

from __future__ import annotations

import json
import re
import shutil
import tarfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from trialign_ray.config.base import load_yaml
from trialign_ray.config.game import GroupSet, QuestionSet
from trialign_ray.data.field_paths import check_paths
from trialign_ray.data.importers import import_logs
from trialign_ray.data.normalisation import Completion
from trialign_ray.errors import ModelError

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,119}")
_KEPT = re.compile(r".*\.(safetensors|json|txt|model|jinja|md)|LICENSE")
_REFUSED = re.compile(r".*\.(bin|pt|pth|pkl|pickle|ckpt|py|so|h5|msgpack|npz|npy)")
_MOST_FILES = 2000
_DEEPEST = 2
_HEADER_BYTES = 100 << 20
_FIX = "Send a tar archive of the folder's files, as `tar -C FOLDER -cf model.tar .` makes one."


@dataclass(frozen=True, slots=True)
class RowPaths:
    """Where the fields of an upload's rows lie, and which of them to leave out; as `--map` and `--ignore`."""

    paths: dict[str, str]
    ignore: tuple[str, ...]

    def __post_init__(self) -> None:
        """Raises SpecError."""
        check_paths(self.paths)


def logs(
    file: Path, target: Path, reading: RowPaths, *, strict: bool, kept: Path | None, reject_bytes: int, shown_as: str
) -> dict[str, Any]:
    """Import rows into a log dataset; raises DataError, RowError. kept: where the file itself stays.

    shown_as: what its owner calls it; the rows that are set aside name no folder of the service.
    """
    completion = Completion(ignore=frozenset(reading.ignore), paths=reading.paths)
    done = import_logs([file], target, completion, strict=strict, reject_bytes=reject_bytes, shown_as=shown_as)
    if kept is None:
        file.unlink()
    else:
        file.rename(kept)
    report = {
        "rows_in": done.rows_in,
        "rows_imported": done.rows_imported,
        "rows_rejected": done.rows_rejected,
        "groups": list(done.manifest.names),
        "warnings": list(done.warnings),
        "problems": [
            {"row": problem.row, "field": problem.field, "reason": problem.reason} for problem in done.problems
        ],
        "reject_counts": dict(done.reject_counts),
    }
    return {"path": str(target), "report": report}


def questions(file: Path, target: Path, ending: str) -> dict[str, Any]:
    """Keep a question set that is valid; raises SpecError."""
    held = load_yaml(QuestionSet, file, quote=True)
    return _kept(file, target / f"questions.{ending}", {"questions": len(held.questions)})


def groups(file: Path, target: Path, ending: str) -> dict[str, Any]:
    """Keep a group set that is valid; raises SpecError."""
    held = load_yaml(GroupSet, file, quote=True)
    return _kept(file, target / f"groups.{ending}", {"groups": list(held.names)})


def model(file: Path, target: Path, ending: str) -> dict[str, Any]:  # noqa: ARG001 as all of WORK
    """Unpack a folder of a Hugging Face model; raises ModelError."""
    return _folder(file, target, "config.json")


def adapter(file: Path, target: Path, ending: str) -> dict[str, Any]:  # noqa: ARG001 as all of WORK
    """Unpack a PEFT adapter, or one for each group in folders of theirs; raises ModelError."""
    return _folder(file, target, "adapter_config.json")


WORK: Mapping[str, Callable[..., dict[str, Any]]] = {
    "questions": questions,
    "groups": groups,
    "model": model,
    "adapter": adapter,
}
"""By purpose, but for logs. Each takes the file, the folder to make and the file's ending; it gives the place and a
report."""


def _kept(file: Path, place: Path, report: dict[str, Any]) -> dict[str, Any]:
    place.parent.mkdir()
    file.rename(place)
    return {"path": str(place), "report": report}


def _folder(file: Path, target: Path, config: str) -> dict[str, Any]:
    partial = target.with_name(".unpacking")
    partial.mkdir()
    found: dict[str, int] = {}  # not compressed, so it unpacks to no more than it is
    try:
        _require_end(file)
        with tarfile.open(file, "r|") as archive:
            for member, name in _members(archive):
                stream, place = archive.extractfile(member), partial / name
                if stream is None or name in found:
                    raise ModelError(f"'{name}' of the archive is there twice or holds nothing to read. {_FIX}")
                place.parent.mkdir(parents=True, exist_ok=True)
                with stream, place.open("xb") as out:
                    shutil.copyfileobj(stream, out, 1 << 20)
                found[name] = member.size
    except (FileExistsError, NotADirectoryError):
        raise ModelError(f"the archive has a file and a folder of the same name. {_FIX}") from None
    except (tarfile.TarError, EOFError, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise ModelError(f"the file is no tar archive that can be read ({error}). {_FIX}") from None
    root = _root(found, config)
    _check(partial / root, config)
    (partial / root).rename(target)
    file.unlink()
    return {"path": str(target), "report": {"files": len(found), "bytes": sum(found.values())}}


def _require_end(file: Path) -> None:
    """Raises TarError of a file that does not end as an archive does: one that was cut reads as one of fewer files."""
    with file.open("rb") as stream:
        stream.seek(max(0, file.stat().st_size - 2 * tarfile.BLOCKSIZE))
        if stream.read() != bytes(2 * tarfile.BLOCKSIZE):
            raise tarfile.ReadError("it has no end")


def _members(archive: tarfile.TarFile) -> Iterator[tuple[tarfile.TarInfo, str]]:
    """Files to unpack with the names that they get; raises ModelError for what no such folder holds."""
    for at, member in enumerate(archive):
        parts = [part for part in PurePosixPath(member.name).parts if part != "."]
        name = "/".join(parts)
        if at >= _MOST_FILES:
            raise ModelError(f"the archive has more than {_MOST_FILES} members. {_FIX}")
        if any(not _NAME.fullmatch(part) for part in parts) or len(parts) > _DEEPEST + 1:
            raise ModelError(f"'{member.name}' in the archive is no name of a model's file. {_FIX}")
        if member.isdir():
            continue
        if not member.isreg() or member.issparse():
            raise ModelError(f"'{name}' of the archive is a link or a device. Send the files themselves.")
        if _REFUSED.fullmatch(name):
            raise ModelError(
                f"'{name}' could run code where it is loaded. Send weights as safetensors, and no programs."
            )
        if _KEPT.fullmatch(parts[-1]):
            yield member, name


def _root(found: Mapping[str, int], config: str) -> str:
    """The folder of the archive that has the files: its own, or the one in it."""
    tops = {name.partition("/")[0] if "/" in name else "" for name in found}
    if len(tops) == 1 and config not in found:
        [top] = tops
        return top if any(name.startswith(f"{top}/") and name.endswith(config) for name in found) else ""
    return ""


def _check(folder: Path, config: str) -> None:
    """Raises ModelError unless there is a configuration and its weights, for each group where adapters have folders.

    A model's folders may be anything, such as the layers of sentence-transformers.
    """
    places = [config] if config == "config.json" else [config, f"*/{config}"]
    homes = [path.parent for place in places for path in folder.glob(place)]
    if not homes:
        raise ModelError(f"the archive has no {config}. {_FIX}")
    for home in homes:
        settings = home / config
        try:
            if settings.stat().st_size > 1 << 20 or not isinstance(json.loads(settings.read_bytes()), dict):
                raise ValueError("it is no JSON object of at most 1 MB")
        except (ValueError, RecursionError) as error:
            raise ModelError(f"{config} of the archive cannot be read: {error}.") from None
        if not any(home.glob("*.safetensors")):
            raise ModelError(f"the archive has no .safetensors beside {config}. Save the weights as safetensors.")
    for one in sorted(folder.rglob("*.safetensors")):
        _check_weights(one)


def _check_weights(file: Path) -> None:
    """Raises ModelError unless the tensors that the header names fill the file exactly."""
    size = file.stat().st_size
    with file.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        header = stream.read(length) if length <= min(size, _HEADER_BYTES) else b""
    try:
        tensors = {name: one for name, one in json.loads(header).items() if name != "__metadata__"}
        ends = [int(one["data_offsets"][1]) for one in tensors.values()]
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError):
        raise ModelError(f"'{file.name}' is no safetensors file. Save the weights again.") from None
    if 8 + length + max(ends, default=0) != size:
        raise ModelError(f"'{file.name}' is cut short or has bytes that no tensor owns. Save the weights again.")
