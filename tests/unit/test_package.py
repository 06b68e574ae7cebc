"""What `pip install trialign-ray` and `import trialign_ray` give."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

import trialign_ray
from trialign_ray import errors

ROOT = Path(__file__).parents[2]
PUBLIC = {
    *("audit", "collect", "train", "export", "load_logs", "load_spec"),
    *("AuditSpec", "CollectSpec", "TrainSpec", "TrialignError"),
}
SOURCES = ("pyproject.toml", "README.md", "LICENSE", "trialign_ray", "api")


def python(program: str) -> list[str]:
    """Words that `program` prints in a Python of its own."""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=True)
    return done.stdout.split()


def test_the_public_names():
    assert set(trialign_ray.__all__) == PUBLIC == set(dir(trialign_ray))


def test_every_public_name_is_declared_for_type_checkers_where_it_is_imported_from():
    tree = ast.parse(Path(trialign_ray.__file__).read_text(encoding="utf-8"))
    (declared,) = (node for node in tree.body if isinstance(node, ast.If))
    homes = {
        alias.asname or alias.name: f"{node.module}:{alias.name}"
        for node in declared.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert homes == trialign_ray._HOMES


def test_every_public_name_is_there():
    assert {name for name in PUBLIC if callable(getattr(trialign_ray, name))} == PUBLIC


def test_a_name_that_is_not_public_is_an_attribute_error():
    with pytest.raises(AttributeError, match="'trialign_ray' has no attribute 'learn'"):
        trialign_ray.learn  # noqa: B018


def test_importing_the_library_loads_nothing_but_itself():
    libraries = python(
        "import sys; before = set(sys.modules); import trialign_ray; "
        "print(*{name.split('.')[0] for name in set(sys.modules) - before} - sys.stdlib_module_names)"
    )
    assert libraries == ["trialign_ray"]


def test_specifications_are_had_without_torch_and_ray():
    heavy = python(
        "import sys; from trialign_ray import AuditSpec, CollectSpec, TrainSpec, TrialignError, load_spec; "
        "print(*{'torch', 'ray', 'transformers', 'deepspeed', 'pyarrow', 'numpy'} & set(sys.modules))"
    )
    assert heavy == []


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Names in the wheel. It is built from a copy, since a build leaves folders beside its sources."""
    folder = tmp_path_factory.mktemp("wheel")
    ignore = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for name in SOURCES:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / "source" / name, ignore=ignore)
        else:
            (folder / "source").mkdir(exist_ok=True)
            shutil.copy(source, folder / "source" / name)
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-index", "--no-build-isolation"]
    subprocess.run([*build, "--wheel-dir", str(folder), str(folder / "source")], check=True, timeout=300)
    (built,) = folder.glob("*.whl")
    with zipfile.ZipFile(built) as archive:
        return archive.namelist()


def test_the_wheel_puts_two_packages_into_an_environment(wheel: list[str]):
    top = {name.split("/")[0] for name in wheel}
    assert {name for name in top if not name.endswith(".dist-info")} == {"trialign_ray", "trialign_api"}
    assert len(top) == 3


def test_the_wheel_holds_every_file_of_the_two_packages(wheel: list[str]):
    def files(package: Path) -> set[str]:
        paths = (path for path in package.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
        return {path.relative_to(package.parent).as_posix() for path in paths}

    packaged = {name for name in wheel if ".dist-info/" not in name}
    assert packaged == files(ROOT / "trialign_ray") | files(ROOT / "api" / "trialign_api")
    assert {"trialign_ray/py.typed", "trialign_api/openapi.json", "trialign_api/web/index.html"} <= packaged


def test_the_version_in_the_changelog_is_this_one():
    lines = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8").splitlines()
    newest = next(line.removeprefix("## ") for line in lines if line.startswith("## "))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["version"] == newest


BLOCKED = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"matplotlib", "moocore", "textstat", "gguf", "fastapi", "uvicorn", "sqlalchemy"}:
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Blocked())
import trialign_ray.cli.app, trialign_ray.evaluation, trialign_ray.rewards.preference
print("imported")
"""


def test_what_audits_train_and_collect_share_is_imported_without_any_extra():
    assert python(BLOCKED) == ["imported"]


def test_a_missing_extra_is_named_with_the_command_that_installs_it():
    errors.require("report", "json")
    with pytest.raises(
        errors.MissingExtraError, match=r"^no_such: not installed. Run: pip install 'trialign-ray\[report\]'"
    ):
        errors.require("report", "json", "no_such")


def test_an_audit_without_its_extra_stops_before_it_reads_anything(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr(errors, "find_spec", lambda name: None)
    spec = trialign_ray.AuditSpec(
        name="audit", answers="nowhere.jsonl", questions="nowhere.json", groups="nowhere.yaml", runs=str(tmp_path)
    )
    with pytest.raises(errors.MissingExtraError, match=r"trialign-ray\[report\]"):
        trialign_ray.audit(spec)
    assert list(tmp_path.iterdir()) == []


def test_what_ray_does_not_export_is_imported_in_one_module():
    """A release of Ray that moves it then touches one module; the range in pyproject.toml ends before."""
    users = [
        path.relative_to(ROOT).as_posix()
        for folder in ("trialign_ray", "api", "jobs")
        for path in (ROOT / folder).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("ray.") and "._" in (node.module or "")
    ]
    assert users == ["trialign_ray/trainer/failures.py"]


def test_no_two_classes_of_the_library_and_the_service_are_called_the_same():
    homes: dict[str, list[str]] = {}
    for folder in ("trialign_ray", "api/trialign_api"):
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                    homes.setdefault(node.name, []).append(path.relative_to(ROOT).as_posix())
    assert {name: found for name, found in homes.items() if len(found) > 1} == {}
