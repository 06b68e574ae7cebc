"""The paper's four panels: two question sets, each with stated and with implied wishes."""

from __future__ import annotations

from pathlib import Path

import pytest

from trialign_ray.bench.sets import SETS
from trialign_ray.config.base import load_yaml
from trialign_ray.config.game import GroupSet
from trialign_ray.config.tasks import AuditSpec

ROOT = Path(__file__).parents[3]
PANELS = [(name, cue) for name in ("aime2025", "stereoset") for cue in ("explicit", "implicit")]


@pytest.mark.parametrize(("name", "cue"), PANELS)
def test_a_panel_asks_a_known_set_with_one_kind_of_wish(name, cue):
    spec = load_yaml(AuditSpec, ROOT / "demo" / "bench" / "panels" / f"{name}-{cue}.yaml")
    assert Path(spec.questions).stem == name
    assert name in SETS
    groups = load_yaml(GroupSet, ROOT / spec.groups)
    drawn = {
        found[1]
        for group in groups.groups
        for i in range(40)
        if (found := groups.preference_for(group, f"q{i}", "competition mathematics"))
    }
    assert drawn == {cue}


def test_there_is_no_other_panel():
    files = (ROOT / "demo" / "bench" / "panels").glob("*.yaml")
    found = {path.stem for path in files if not path.stem.startswith("groups-")}
    assert found == {f"{name}-{cue}" for name, cue in PANELS}
