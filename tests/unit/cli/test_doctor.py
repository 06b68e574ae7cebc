"""`trialign doctor` as a table, as JSON and as an exit status."""

from __future__ import annotations

import json

import pytest

from trialign_ray.cli import main
from trialign_ray.cluster import doctor
from trialign_ray.cluster.doctor import Finding

FINE = Finding("Python", "ok", "3.11.7")
ODD = Finding("memory", "attention", "1.0 GiB available", "Free some.")
BAD = Finding("Ray", "missing", "[no] module", "Install it.")


def run(monkeypatch: pytest.MonkeyPatch, findings: tuple[Finding, ...], *options: str) -> object:
    monkeypatch.setattr(doctor, "examine", lambda: findings)
    with pytest.raises(SystemExit) as stopped:
        main(["doctor", *options])
    return stopped.value.code


@pytest.mark.parametrize(("findings", "status"), [((FINE, ODD), 0), ((FINE, BAD), 1)])
@pytest.mark.parametrize("options", [(), ("--json",)])
def test_the_status_tells_whether_something_required_is_missing(
    monkeypatch: pytest.MonkeyPatch, findings: tuple[Finding, ...], status: int, options: tuple[str, ...]
) -> None:
    assert run(monkeypatch, findings, *options) == status


def test_the_table_says_what_is_there_and_what_to_do(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run(monkeypatch, (FINE, ODD, BAD))
    output = capsys.readouterr().out
    for finding in (FINE, ODD, BAD):
        assert all(text in output for text in (finding.name, finding.status, finding.found, finding.fix))


def test_the_json_holds_every_check(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    run(monkeypatch, (FINE, BAD), "--json")
    report = json.loads(capsys.readouterr().out)
    assert report["ready"] is False
    assert [check["name"] for check in report["checks"]] == ["Python", "Ray"]
    assert report["checks"][1]["fix"] == "Install it."
