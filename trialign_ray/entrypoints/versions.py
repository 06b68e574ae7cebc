"""The versions that a report names."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

from pydantic import JsonValue

_PACKAGES = ("trialign-ray", "torch", "ray", "deepspeed", "transformers", "peft", "pyarrow", "numpy")


def versions() -> dict[str, JsonValue]:
    """Of this library and of what its figures depend on; None for a package that is not installed."""
    return {name: _version(name) for name in _PACKAGES}


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
