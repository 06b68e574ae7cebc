"""`trialign collect`: a model answers as every group, and its responses become offline logs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer
from typer import Option

from trialign_ray.cli import asking, specs
from trialign_ray.cli import endpoint as server
from trialign_ray.io import console


@dataclass(frozen=True, kw_only=True)
class CollectOptions(asking.AskingOptions, asking.WorkerOptions):
    """What `trialign collect` can be told."""

    model: Annotated[str | None, Option(help="Folder of a Hugging Face causal LM.")] = None
    adapter: Annotated[str | None, Option(help="A PEFT adapter to put on the model.")] = None
    served_model: Annotated[
        str | None, Option(metavar="NAME", help="With --endpoint: the server's name for the model; by default --model.")
    ] = None
    logprobs: Annotated[
        str | None, Option(help="With --endpoint: absent (default), raw or processed, with the server's token ids.")
    ] = None
    output: Annotated[str | None, Option(help="Log dataset to write, a path or URI.")] = None
    overwrite: Annotated[bool | None, Option("--overwrite", help="Replace the dataset at --output.")] = None
    split: Annotated[str | None, Option(help="Which questions: train (default), heldout or all.")] = None
    unasked_in: Annotated[
        str | None, Option(metavar="LOGS", help="Log dataset: ask each group only what it was not asked there.")
    ] = None
    protocol: Annotated[
        str | None, Option(help="independent (default), self_refine, cooperative, debate, plurality or placebo.")
    ] = None
    turns: Annotated[int | None, Option(help="Turns: 1 for independent, 2 to 8 for the others.")] = None
    samples: Annotated[int | None, Option(help="Trajectories of each question (K).")] = None
    temperature: Annotated[float | None, Option(help="Sampling temperature; 0 is greedy.")] = None
    seed: Annotated[int | None, Option(help="Random seed for sampling.")] = None
    name: Annotated[str | None, Option(help="Name of the job.")] = None


@asking.taking(CollectOptions)
def command(given: CollectOptions) -> None:
    """Roll a model out as one agent a group and write offline logs.

    With --endpoint a server answers, and --model is the folder of the tokenizer that makes token ids.

    A collection that was killed goes on where it stopped when the same command is run again.
    """
    from trialign_ray.config.tasks import CollectSpec

    options, served = vars(given), given.endpoint is not None
    part = server.endpoint_part(options, given.served_model or (given.model if served else None))
    flags = asking.fields_of(CollectSpec, options, subject=given.output) | {"endpoint": part}
    job = specs.build(CollectSpec, given.spec, flags)
    from trialign_ray.entrypoints.collect import collect

    with console.progress() as progress:
        manifest = collect(job, progress, given.address)
    typer.echo(f"{job.output}: {manifest.rows} rows of {len(manifest.groups)} groups")
