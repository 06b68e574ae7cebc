"""`trialign doctor`: checks of this machine and of models, and how to fix what is missing."""

from __future__ import annotations

import dataclasses
import json
import os
from typing import TYPE_CHECKING, Annotated

import typer
from rich import box
from rich.table import Table
from rich.text import Text
from typer import Option

from trialign_ray.errors import SpecError
from trialign_ray.io import console

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trialign_ray.cluster.doctor import Finding

UNREADY = 1
_STYLES = {"ok": "green", "attention": "yellow", "missing": "bold red"}


def command(
    as_json: Annotated[bool, Option("--json", help="Print JSON.")] = False,
    model: Annotated[
        str | None, Option(help="Check this model's folder instead: are its log-probs exact over packed trees?")
    ] = None,
    families: Annotated[
        list[str] | None, Option(help="Check a family of transformers instead, by its model_type; 'all' for every one.")
    ] = None,
) -> None:
    """Check this machine, or a model. The exit status is 1 where something required is missing."""
    if model is not None and families:
        raise SpecError("option '--families': not together with '--model'. Give one of them.")
    if families:
        _families(families, as_json)
        return
    from trialign_ray.cluster.doctor import examine, ready

    findings = examine() if model is None else _model(model)
    if as_json:
        checks = [dataclasses.asdict(finding) for finding in findings]
        typer.echo(json.dumps({"ready": ready(findings), "checks": checks}, indent=2))
    else:
        console.show(_table(findings))
    if not ready(findings):
        raise typer.Exit(UNREADY)


def _model(model: str) -> tuple[Finding, ...]:
    from trialign_ray.io.cache import local_folder
    from trialign_ray.trainer.guard.advice import advise

    return advise(local_folder(model))


def _families(names: list[str], as_json: bool) -> None:
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "critical")  # it warns of every default that a copy changes
    from trialign_ray.trainer.guard.families import every_name, row, table

    if unknown := [name for name in names if name not in {"all", *every_name()}]:
        raise SpecError(f"option '--families': transformers has no causal language model of type '{unknown[0]}'.")
    wanted = every_name() if names == ["all"] else names
    with console.progress() as progress:
        progress.begin("judging", len(wanted))
        found = []
        for name in wanted:
            found.append(row(name))
            progress.advance()
        progress.end()
    typer.echo(json.dumps([dataclasses.asdict(each) for each in found], indent=1) if as_json else table(found))


def _table(findings: Sequence[Finding]) -> Table:
    table = Table("check", "state", "found", "what to do", box=box.SIMPLE_HEAD)
    for finding in findings:
        state = Text(finding.status, style=_STYLES[finding.status])
        table.add_row(finding.name, state, Text(finding.found), Text(finding.fix))
    return table
