"""`trialign doctor`: checks of this machine, and how to fix what is missing."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Annotated

import typer
from rich import box
from rich.table import Table
from rich.text import Text
from typer import Option

from trialign_ray.io import console

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trialign_ray.cluster.doctor import Finding

UNREADY = 1
_STYLES = {"ok": "green", "attention": "yellow", "missing": "bold red"}


def command(as_json: Annotated[bool, Option("--json", help="Print JSON.")] = False) -> None:
    """Check this machine. The exit status is 1 where something required is missing."""
    from trialign_ray.cluster.doctor import examine, ready

    findings = examine()
    if as_json:
        checks = [dataclasses.asdict(finding) for finding in findings]
        typer.echo(json.dumps({"ready": ready(findings), "checks": checks}, indent=2))
    else:
        console.show(_table(findings))
    if not ready(findings):
        raise typer.Exit(UNREADY)


def _table(findings: Sequence[Finding]) -> Table:
    table = Table("check", "state", "found", "what to do", box=box.SIMPLE_HEAD)
    for finding in findings:
        state = Text(finding.status, style=_STYLES[finding.status])
        table.add_row(finding.name, state, Text(finding.found), Text(finding.fix))
    return table
