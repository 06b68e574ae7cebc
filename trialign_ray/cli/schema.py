"""`trialign schema`: specifications, question sets and group sets as JSON Schema."""

from __future__ import annotations

import json
from enum import StrEnum
from typing import Annotated

import typer


class Described(StrEnum):
    """What has a schema."""

    jobs = "jobs"
    questions = "questions"
    groups = "groups"


def command(
    of: Annotated[
        Described, typer.Argument(help="Specifications of jobs, question sets or group sets.")
    ] = Described.jobs,
) -> None:
    """Print the JSON Schema of specifications, question sets or group sets, for editors and other programs."""
    from trialign_ray.config.game import GroupSet, QuestionSet
    from trialign_ray.config.kinds import json_schema

    schemas = {
        Described.jobs: json_schema,
        Described.questions: QuestionSet.model_json_schema,
        Described.groups: GroupSet.model_json_schema,
    }
    typer.echo(json.dumps(schemas[of](), indent=2))
