"""`trialign export`: the trained policy as files that other software can load."""

from __future__ import annotations

from typing import Annotated

import typer
from typer import Option


def command(
    run: Annotated[str, typer.Argument(metavar="RUN", help="The run's folder, runs/demo for instance.")],
    group: Annotated[str | None, Option(help="Whose adapter, where each group has its own.")] = None,
    target: Annotated[str | None, Option(help="Where to write; by default RUN/export, or RUN/export-GROUP.")] = None,
) -> None:
    """Write a PEFT adapter and a merged model, or the model of `adapter: full`, compared with the trained policy."""
    from trialign_ray.entrypoints.export import ADAPTER_BOUND, export

    done = export(run, target, group)
    typer.echo(f"compared at {done.tokens} tokens of {done.responses} logged responses, over the whole vocabulary")
    if done.adapter is not None:
        typer.echo(
            f"{done.adapter}: log-probs differ by at most {done.adapter_difference:.2g} (allowed: {ADAPTER_BOUND:.0e})"
        )
    typer.echo(
        f"{done.merged}: KL divergence {done.merged_divergence:.2g} nats a token (allowed: {done.merged_bound:g}), "
        f"the same most likely token at {done.same_likeliest_token:.1%} of them"
    )
    typer.echo("what was written matches the trained policy within these limits")
