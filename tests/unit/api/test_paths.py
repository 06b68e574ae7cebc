"""No specification leads out of the roots."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trialign_api.paths import Refused, Roots, absolute, is_owner

ROOTS = Roots("/srv/work", ("/srv/models", "s3://bucket/team"), "/srv/data")
OWN = Roots("/srv/work", ("/srv/models",), "/srv/data", private=True)
parts = st.sampled_from(["..", ".", "a", "b c", "~", "etc", "work", "models", "", "%2e%2e", "work-evil", "\\", "..."])
places = st.lists(parts, min_size=1, max_size=8).flatmap(
    lambda chosen: st.sampled_from(["", "/", "/srv/work/", "file:///srv/work/", "s3://bucket/team/"]).map(
        lambda start: start + "/".join(chosen)
    )
)


@given(places)
def test_whatever_is_allowed_lies_in_a_root(place: str) -> None:
    try:
        found = ROOTS.reading(place)
    except Refused:
        return
    inside = (
        [root for root in ("/srv/work", "/srv/models") if os.path.commonpath([root, found]) == root]
        if (found.startswith("/"))
        else [found == "s3://bucket/team" or found.startswith("s3://bucket/team/")]
    )
    assert any(inside)
    assert "/../" not in f"{found}/"


@given(places)
def test_whatever_may_be_written_lies_in_the_workspace(place: str) -> None:
    try:
        found = ROOTS.writing(place)
    except Refused:
        return
    assert os.path.commonpath(["/srv/work", found]) == "/srv/work"


@pytest.mark.parametrize(
    "place",
    ["/etc/passwd", "~", "~/x", "../x", "/srv/work/../x", "/srv/work-evil/x", "file:///etc/passwd", "file://host/srv/work/x",
     "s3://bucket/team/../x", "s3://bucket/teammate", "s3://key:secret@bucket/team/x", "s3://other/team",
     "s3://bucket/team/x?endpoint_override=evil", "gs://bucket/team", "x\0y", "s3://bucket/team/%2e%2e/x"],
)  # fmt: skip
def test_these_are_refused(place: str) -> None:
    with pytest.raises(Refused):
        ROOTS.reading(place)


def test_a_link_out_of_the_workspace_is_refused(tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    (tmp_path / "secret").mkdir()
    (tmp_path / "work" / "link").symlink_to(tmp_path / "secret")
    with pytest.raises(Refused):
        Roots(str(tmp_path / "work"), (), "/srv/data").reading("link/file")


@pytest.mark.parametrize(
    "place", ["data", "data/jobs/new", "data/datasets/ds-1/logs", "link/jobs", "{}/data/x", "a/../data/x"]
)
def test_the_services_own_folder_is_closed_also_where_it_lies_in_the_workspace(tmp_path: Path, place: str) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "data")
    roots = Roots(str(tmp_path), (str(tmp_path / "data"),), str((tmp_path / "data").resolve()))
    for use in (roots.reading, roots.writing):
        with pytest.raises(Refused, match="own folder"):
            use(place.format(tmp_path))
        assert use("database/x") == str(tmp_path.resolve() / "database/x")


def test_a_workspace_that_lies_in_the_services_folder_is_open() -> None:
    roots = Roots("/srv/data/work", (), "/srv/data")
    assert roots.writing("logs") == "/srv/data/work/logs"
    with pytest.raises(Refused):
        roots.reading("../jobs")


@pytest.mark.parametrize("workspace", ["/srv/work", "file:///srv/work/", "s3://bucket/work"])
def test_a_private_workspace_starts_at_its_owners_folder(workspace: str) -> None:
    ada = replace(OWN, workspace=workspace).of("ada")
    root = absolute(workspace, "/")
    assert ada.reading("logs/x") == ada.writing("logs/x") == f"{root}/ada/logs/x"
    assert ada.writing(f"{root}/ada/logs") == f"{root}/ada/logs"
    assert ada.reading("/srv/models/m") == "/srv/models/m"
    for place in ("..", "../bob/logs", f"{root}/bob/logs", f"{root}/adam", root, f"{root}/logs"):
        for use in (ada.reading, ada.writing):
            with pytest.raises(Refused):
                use(place)


def test_a_link_to_another_owners_folder_is_refused(tmp_path: Path) -> None:
    for owner in ("ada", "bob"):
        (tmp_path / owner).mkdir()
    (tmp_path / "ada" / "link").symlink_to(tmp_path / "bob")
    with pytest.raises(Refused):
        replace(OWN, workspace=str(tmp_path)).of("ada").writing("link/logs")


def test_owners_share_a_workspace_that_is_not_private() -> None:
    assert ROOTS.of("ada") == ROOTS.of("../Bob") == ROOTS


@pytest.mark.parametrize("owner", ["ada", "a", "team-2", "a.b_c", "0" * 80])
def test_these_names_can_be_owners(owner: str) -> None:
    assert is_owner(owner)
    assert OWN.of(owner).writing("x") == f"/srv/work/{owner}/x"


@pytest.mark.parametrize(
    "owner",
    ["", ".", "..", "../bob", "a/b", "/etc", "a\\b", "Ada", "ada.", "-a", "a b", "a\n", "a%2e", "a?b", "ä", "0" * 81],
)
def test_names_that_are_no_folders_on_every_file_system_cannot_be_owners(owner: str) -> None:
    assert not is_owner(owner)
    with pytest.raises(Refused, match="owner"):
        OWN.of(owner)


def test_places_are_made_absolute_and_plain() -> None:
    assert absolute("a/./b/../c", "/srv/work") == "/srv/work/a/c"
    assert absolute("logs/x", "s3://bucket/team") == "s3://bucket/team/logs/x"
    assert absolute("file:///srv/work/x", "/") == "/srv/work/x"
    assert absolute("~/.cache/model", "/srv/work") == str(Path.home() / ".cache/model")
