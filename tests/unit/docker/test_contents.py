"""The package that the images install has every file and every library that the code uses."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterable, Iterator
from importlib.metadata import packages_distributions, requires
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[3]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PACKAGES = {"trialign_ray": ROOT / "trialign_ray", "trialign_api": ROOT / "api" / "trialign_api"}


def data_files(package: str) -> Iterator[Path]:
    for path in PACKAGES[package].rglob("*"):
        if path.is_file() and path.suffix not in {".py", ".pyc", ".mako"}:
            yield path


def imported(package: str) -> set[str]:
    """Top-level names of every absolute import, also those inside functions."""
    names: set[str] = set()
    for path in PACKAGES[package].rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name.split(".")[0] for alias in node.names}
            if isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names.add(node.module.split(".")[0])
    return names - sys.stdlib_module_names - set(PACKAGES)


def installed(requirements: Iterable[str]) -> set[str]:
    """Distributions that pip installs for `requirements`, theirs included."""
    todo, seen = [Requirement(text) for text in requirements], set[tuple[str, str]]()
    while todo:
        wanted = todo.pop()
        for extra in ("", *wanted.extras):
            key = (canonicalize_name(wanted.name), extra)
            if key not in seen:
                seen.add(key)
                todo += (need for text in requires(wanted.name) or () if applies(need := Requirement(text), extra))
    return {name for name, _ in seen}


def applies(requirement: Requirement, extra: str) -> bool:
    return requirement.marker is None or requirement.marker.evaluate({"extra": extra})


@pytest.mark.parametrize("package", PACKAGES)
def test_every_data_file_is_packaged(package: str):
    patterns = PROJECT["tool"]["setuptools"]["package-data"].get(package, [])
    packaged = {path for pattern in patterns for path in PACKAGES[package].glob(pattern)}
    assert set(data_files(package)) <= packaged


@pytest.mark.parametrize("package", PACKAGES)
def test_every_imported_library_is_installed(package: str):
    there, provided = installed(PROJECT["project"]["dependencies"]), packages_distributions()
    used = {name: {canonicalize_name(distribution) for distribution in provided[name]} for name in imported(package)}
    assert {name for name, distributions in used.items() if not distributions & there} == set()


def test_every_pin_is_exact():
    assert all(re.fullmatch(r"[\w.\[\],-]+==[\w.]+", pin) for pin in PROJECT["project"]["dependencies"])
