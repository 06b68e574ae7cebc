"""What an accelerator shows, in one JSON: `python -m tests.gpu.run`, from the repository's root.

Needs what the trainer imports: torch, transformers, peft, safetensors, numpy, pydantic, jinja2, yaml, pyarrow and
psutil; DeepSpeed and TRL where their parts are to run. No Ray, no files, no network. `--device cpu --tiny` runs every
part that the environment has at a size for tests.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch

PACKAGES = ("torch", "transformers", "peft", "deepspeed", "trl", "flash-attn")
OPTIONAL = frozenset({"deepspeed", "trl", "datasets"})
"""What a part may lack; any other module that is missing is a fault."""


@dataclass(frozen=True, slots=True)
class Setting:
    """Where the parts run, and how large they are."""

    device: torch.device
    tiny: bool

    @property
    def dtype(self) -> torch.dtype:
        """Of the speed parts; equality is always compared in float32."""
        return torch.bfloat16 if self.device.type == "cuda" else torch.float32


def parts() -> Mapping[str, Callable[[Setting], Any]]:
    """By name, in the order in which they run."""
    from tests.gpu.equality import families, zero
    from tests.gpu.speed import ours, trl

    return {"families": families, "zero": zero, "speed": ours, "trl": trl}


def measured(part: Callable[[Setting], Any], setting: Setting) -> dict[str, Any]:
    """What a part found and how long it took; a part that fails leaves the others to run."""
    started = time.perf_counter()
    try:
        found: dict[str, Any] = {"found": part(setting)}
    except Exception as error:
        if isinstance(error, ModuleNotFoundError) and error.name in OPTIONAL:
            found = {"left_out": f"{error.name} is not installed"}
        else:
            found = {"error": traceback.format_exc(limit=-6)}
    return found | {"seconds": round(time.perf_counter() - started, 1)}


def report(setting: Setting, names: list[str]) -> dict[str, Any]:
    """The whole document."""
    cuda = setting.device.type == "cuda"
    return {
        "device": torch.cuda.get_device_name() if cuda else platform.processor() or "cpu",
        "tiny": setting.tiny,
        "python": platform.python_version(),
        "versions": {name: found for name in PACKAGES if (found := _version(name))},
        "parts": {name: measured(part, setting) for name, part in parts().items() if name in names},
    }


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def main(arguments: list[str]) -> int:
    """Print the JSON; 1 where a part failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.gpu.run", description=__doc__)
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    parser.add_argument("--tiny", action="store_true", help="smallest sizes, for a test")
    parser.add_argument("--parts", default="families,zero,speed,trl", help="comma-separated")
    given = parser.parse_args(arguments)
    names = given.parts.split(",")
    if unknown := sorted(set(names) - set(parts())):
        parser.error(f"--parts: '{unknown[0]}' is none of {', '.join(parts())}")
    if given.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device cuda: this machine has none; give --device cpu --tiny")
    done = report(Setting(torch.device(given.device), given.tiny), names)
    print(json.dumps(done, indent=1))  # noqa: T201
    return int(any("error" in part for part in done["parts"].values()))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
