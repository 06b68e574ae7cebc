"""`trialign doctor` as a table, as JSON and as an exit status."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.tiny import tiny_model
from trialign_ray.cli import main
from trialign_ray.cluster import doctor
from trialign_ray.cluster.doctor import Finding
from trialign_ray.trainer.guard.advice import advise

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


@pytest.mark.parametrize(
    ("options", "status", "told"),
    [
        (("--model", "nowhere"), 4, "nowhere"),
        (("--model", "a", "--families", "llama"), 2, "not together with '--model'"),
        (("--families", "nobodys"), 2, "no causal language model of type 'nobodys'"),
    ],
)
def test_a_model_that_cannot_be_judged_is_named(
    capsys: pytest.CaptureFixture[str], options: tuple[str, ...], status: int, told: str
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["doctor", *options])
    assert stopped.value.code == status
    assert told in capsys.readouterr().err


def test_a_model_s_log_probs_and_gradients_are_judged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tiny_model().save_pretrained(tmp_path)
    with pytest.raises(SystemExit) as stopped:
        main(["doctor", "--model", str(tmp_path), "--json"])
    output = capsys.readouterr().out
    report = json.loads(output[output.index("{") :])  # a library may write a warning first
    assert (stopped.value.code, report["ready"]) == (0, True)
    assert [(check["name"], check["status"]) for check in report["checks"]] == [
        ("log-probs", "ok"),
        ("gradients", "ok"),
        ("generation", "ok"),
    ]


def test_a_model_of_which_no_copy_can_be_made_is_not_said_to_generate_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(config: object) -> object:
        raise ValueError(config)

    tiny_model().save_pretrained(tmp_path)
    monkeypatch.setattr("trialign_ray.trainer.guard.generation._JUDGED", {})
    monkeypatch.setattr("trialign_ray.trainer.guard.generation.tiny_model", refuses)
    *_, generation = advise(tmp_path)
    assert (generation.status, generation.found[:10]) == ("attention", "not judged")


def test_the_table_of_families_has_a_row_for_each(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["doctor", *(f"--families={name}" for name in ("Llama with dynamic NTK", "llama", "bart", "xmod"))])
    told, table = (capsys.readouterr())[::-1]
    rows = {row.split(" | ")[0].strip("| "): row for row in table.splitlines()}
    assert "| Llama with dynamic NTK | refused |" in rows["Llama with dynamic NTK"]
    assert "rope type 'dynamic'" in rows["Llama with dynamic NTK"]
    assert rows["llama"].endswith("| its own |")
    assert "| refused: it counts places in a row" in rows["bart"]
    assert rows["xmod"].endswith("| not judged |")
    assert "judging: 4/4" in told
