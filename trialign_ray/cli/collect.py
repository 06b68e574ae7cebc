"""`trialign collect`: a model answers as every group, and its responses become offline logs."""

from __future__ import annotations

from typing import Annotated

import typer
from typer import Option

from trialign_ray.cli import endpoint as server
from trialign_ray.cli import specs
from trialign_ray.cli.audit import SpecFile
from trialign_ray.io import console


def command(
    spec: SpecFile = None,
    model: Annotated[str | None, Option(help="Folder of a Hugging Face causal LM.")] = None,
    template: Annotated[
        list[str] | None, Option(metavar="NAME=VALUE", help="Chat template argument: enable_thinking=false.")
    ] = None,
    endpoint: server.Url = None,
    served_model: Annotated[
        str | None, Option(metavar="NAME", help="With --endpoint: the server's name for the model; by default --model.")
    ] = None,
    logprobs: Annotated[
        str | None, Option(help="With --endpoint: absent (default), raw or processed, with the server's token ids.")
    ] = None,
    key_env: server.KeyEnv = None,
    concurrency: server.Concurrency = None,
    requests_per_minute: server.RequestsPerMinute = None,
    attempts: server.Attempts = None,
    timeout: server.Timeout = None,
    cache: server.Cache = None,
    replay: server.Replay = None,
    body: server.Body = None,
    questions: Annotated[str | None, Option(help="Question set, YAML or JSON.")] = None,
    groups: Annotated[str | None, Option(help="Group set, YAML or JSON.")] = None,
    output: Annotated[str | None, Option(help="Log dataset to write, a path or URI.")] = None,
    overwrite: Annotated[bool | None, Option("--overwrite", help="Replace the dataset at --output.")] = None,
    split: Annotated[str | None, Option(help="Which questions: train (default), heldout or all.")] = None,
    unasked_in: Annotated[
        str | None, Option(metavar="LOGS", help="Log dataset: ask each group only what it was not asked there.")
    ] = None,
    protocol: Annotated[
        str | None, Option(help="independent (default), self_refine, cooperative, debate, plurality or placebo.")
    ] = None,
    turns: Annotated[int | None, Option(help="Turns: 1 for independent, 2 to 8 for the others.")] = None,
    samples: Annotated[int | None, Option(help="Trajectories of each question (K).")] = None,
    temperature: Annotated[float | None, Option(help="Sampling temperature; 0 is greedy.")] = None,
    max_new_tokens: Annotated[int | None, Option(help="Longest response, in tokens.")] = None,
    questions_per_batch: Annotated[int | None, Option(help="Questions generated together.")] = None,
    seed: Annotated[int | None, Option(help="Random seed for sampling.")] = None,
    dtype: Annotated[str | None, Option(help="auto (default), bfloat16 or float32.")] = None,
    device: Annotated[str | None, Option(help="auto (default), cpu or cuda.")] = None,
    workers: Annotated[
        int | None, Option(help="Copies of the model at once, as Ray workers; 1 is this process.")
    ] = None,
    name: Annotated[str | None, Option(help="Name of the job.")] = None,
) -> None:
    """Roll a model out as one agent a group and write offline logs.

    With --endpoint a server answers, and --model is the folder of the tokenizer that makes token ids.

    A collection that was killed goes on where it stopped when the same command is run again.
    """
    from trialign_ray.config.tasks import CollectSpec

    named = name if name is not None or spec is not None else specs.slug("collect", output)
    asking = {
        **{"key_env": key_env, "concurrency": concurrency, "requests_per_minute": requests_per_minute},
        **{"attempts": attempts, "timeout_seconds": timeout, "cache": cache, "replay": replay, "logprobs": logprobs},
    }
    served = server.endpoint_part(endpoint, served_model or (model if endpoint else None), body, asking)
    flags = {
        **{"name": named, "model": model, "endpoint": served, "questions": questions, "groups": groups},
        **{"split": split, "protocol": protocol, "turns": turns, "samples": samples, "temperature": temperature},
        **{"max_new_tokens": max_new_tokens, "questions_per_batch": questions_per_batch, "seed": seed},
        **{"unasked_in": unasked_in, "dtype": dtype, "device": device, "workers": workers},
        **{"output": output, "overwrite": overwrite, "chat_template_kwargs": specs.template_arguments(template)},
    }
    job = specs.build(CollectSpec, spec, flags)
    from trialign_ray.entrypoints.collect import collect

    with console.progress() as progress:
        manifest = collect(job, progress)
    typer.echo(f"{job.output}: {manifest.rows} rows of {len(manifest.groups)} groups")
