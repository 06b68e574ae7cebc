"""The commands in one tree, and the one place where an error becomes a message and an exit status.

Command modules import what they need when they run: `trialign --help` loads neither torch nor ray.
"""

from __future__ import annotations

from importlib.metadata import version
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from trialign_ray.cli import (
    audit,
    bench,
    collect,
    compare,
    datasets,
    doctor,
    evaluate,
    export,
    files,
    jobs,
    keys,
    logs,
    model,
    openapi,
    plan,
    questions,
    schema,
    serve,
    train,
)
from trialign_ray.errors import TrialignError

INTERRUPTED = 130
"""Exit status after Ctrl-C, as shells have it: 128 and the number of SIGINT."""


class Guarded(TyperGroup):
    """Prints errors that were raised on purpose as plain text, without a traceback."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command of `ctx`."""
        try:
            return super().invoke(ctx)
        except TrialignError as error:
            _stop(str(error), error.exit_status)
        except KeyboardInterrupt:
            resume = (
                " Continue the run with the same command and --resume." if ctx.invoked_subcommand == "train" else ""
            )
            _stop(f"Stopped.{resume}", INTERRUPTED)


def _stop(message: str, status: int) -> NoReturn:
    typer.echo(message, err=True)
    raise typer.Exit(status)


app = typer.Typer(
    cls=Guarded,
    help="Facts that do not depend on who asks: audit and align personalized language models.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command("audit")(audit.command)
app.command("collect")(collect.command)
app.add_typer(logs.app, name="logs")
app.command("train")(train.command)
app.command("plan")(plan.command)
app.command("compare")(compare.command)
app.command("evaluate")(evaluate.command)
app.command("export")(export.command)
app.command("questions")(questions.command)
app.add_typer(bench.app, name="bench")
app.command("model")(model.command)
app.command("schema")(schema.command)
app.command("doctor")(doctor.command)
app.command("serve")(serve.command)
app.command("openapi")(openapi.command)
app.add_typer(keys.app, name="keys")
app.add_typer(jobs.app, name="jobs")
app.add_typer(datasets.app, name="datasets")
app.add_typer(files.app, name="files")


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(version("trialign-ray"))
        raise typer.Exit


@app.callback()
def _root(
    _: Annotated[bool, typer.Option("--version", help="Print the version.", callback=_version, is_eager=True)] = False,
) -> None:
    """Options of `trialign` itself."""
