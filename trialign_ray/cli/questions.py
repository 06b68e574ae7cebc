"""`trialign questions`: what an audit asks, to be answered elsewhere."""

from __future__ import annotations

from typing import Annotated, Literal

import typer
from typer import Option

from trialign_ray.cli import endpoint as server


def command(
    questions: Annotated[str, Option(help="Question set, YAML or JSON.")],
    groups: Annotated[str, Option(help="Group set, YAML or JSON.")],
    prompts: Annotated[str, Option(metavar="OUT.jsonl", help="File to write: the input of an OpenAI batch.")],
    model: Annotated[str, Option(metavar="NAME", help="The model's name at the service.")],
    split: Annotated[Literal["heldout", "train", "all"], Option(help="Which questions.")] = "heldout",
    samples: Annotated[int, Option(min=1, max=64, help="Responses to each prompt: 1 is greedy.")] = 1,
    temperature: Annotated[
        float, Option(min=0.01, max=5, help="Sampling temperature; used with several samples.")
    ] = 0.7,
    max_new_tokens: Annotated[int, Option(min=1, help="Longest response, in tokens.")] = 48,
    seed: Annotated[int, Option(min=0, help="Random seed for sampling.")] = 0,
    body: server.Body = None,
    unanswered: Annotated[
        str | None, Option(metavar="FILE", help="Output of an earlier batch: what it answers is left out.")
    ] = None,
    overwrite: Annotated[bool, Option("--overwrite", help="Replace the file.")] = False,
) -> None:
    """Write every prompt of an audit as a request; `trialign audit --answers` reads the batch's output."""
    from trialign_ray.data.openai_batch import MOST_REQUESTS
    from trialign_ray.entrypoints.questions import write_prompts
    from trialign_ray.inference.base import Sampling

    written = write_prompts(
        prompts,
        questions,
        groups,
        model,
        Sampling.greedy_if_one(max_new_tokens, temperature, samples),
        split=split,
        seed=seed,
        body=server.request_fields(body),
        unanswered=unanswered,
        overwrite=overwrite,
    )
    typer.echo(f"{prompts}: {written} requests")
    if written > MOST_REQUESTS:
        typer.echo(f"note: OpenAI takes {MOST_REQUESTS} requests a file; split it by lines.", err=True)
