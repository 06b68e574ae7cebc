"""No specification leads out of the roots."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.paths import Refused, Roots, absolute

ROOTS = Roots("/srv/work", ("/srv/models", "s3://bucket/team"))
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
        Roots(str(tmp_path / "work"), ()).reading("link/file")


def test_places_are_made_absolute_and_plain() -> None:
    assert absolute("a/./b/../c", "/srv/work") == "/srv/work/a/c"
    assert absolute("logs/x", "s3://bucket/team") == "s3://bucket/team/logs/x"
    assert absolute("file:///srv/work/x", "/") == "/srv/work/x"
    assert absolute("~/.cache/model", "/srv/work") == str(Path.home() / ".cache/model")
