"""`trialign export`: the trained policy as files that other software loads."""

from __future__ import annotations

from typing import Annotated

import typer
from typer import Option


def command(
    run: Annotated[str, typer.Argument(metavar="RUN", help="The run's folder, runs/demo for instance.")],
    target: Annotated[str | None, Option(help="Where to write; by default RUN/export.")] = None,
) -> None:
    """Write a PEFT adapter and a merged model, each reloaded and compared logit by logit."""
    from trialign_ray.exporting import export

    done = export(run, target)
    typer.echo(f"{done.adapter}: reloaded, log-probs differ by at most {done.adapter_difference:.2g}")
    typer.echo(
        f"{done.merged}: reloaded, log-probs differ by {done.merged_difference:.2g} on average, "
        f"the same likeliest token on {done.same_likeliest_token:.0%} of {done.prompts} prompts"
    )
