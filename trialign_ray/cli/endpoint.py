"""Options of the commands that ask a server, and the part of a specification that they make."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any

from typer import Option

from trialign_ray.errors import SpecError

Url = Annotated[
    str | None,
    Option("--endpoint", metavar="URL", help="Ask a server of OpenAI chat completions; the URL often ends with /v1."),
]
KeyEnv = Annotated[
    str | None, Option(metavar="NAME", help="Environment variable with the API key (TRIALIGN_ENDPOINT_KEY).")
]
Concurrency = Annotated[int | None, Option(help="Requests under way at once (8).")]
RequestsPerMinute = Annotated[int | None, Option(help="Most requests begun in a minute; no limit by default.")]
Attempts = Annotated[int | None, Option(help="How often a request is sent before the run stops (8).")]
Timeout = Annotated[float | None, Option(metavar="SECONDS", help="How long one attempt may take (120).")]
Cache = Annotated[str | None, Option(metavar="FOLDER", help="Where answers are kept, and found again, by request.")]
Replay = Annotated[bool | None, Option("--replay", help="Take answers from the cache alone, with the network off.")]
Body = Annotated[
    str | None, Option(metavar="JSON", help="Fields put into each request: '{\"temperature\": null}' leaves one out.")
]


def endpoint_part(
    url: str | None, model: str | None, body: str | None, options: Mapping[str, object]
) -> dict[str, Any] | None:
    """The fields that were given; None where none was. `options` are by name in the specification. Raises SpecError."""
    fields = {"url": url, "model": model, "body": request_fields(body), **options}
    return {name: value for name, value in fields.items() if value is not None} or None


def request_fields(text: str | None) -> dict[str, Any] | None:
    """The value of --body; raises SpecError."""
    if text is None:
        return None
    from trialign_ray.config.endpoint import FIXED_FIELDS

    try:
        value = json.loads(text)
    except ValueError as error:
        raise SpecError(f"--body '{text}': not JSON: {error}. Give an object, '{{\"top_p\": 0.9}}'.") from None
    if not isinstance(value, dict):
        raise SpecError(f"--body '{text}': expected an object, such as '{{\"top_p\": 0.9}}'.")
    if taken := [name for name in FIXED_FIELDS if name in value]:
        raise SpecError(f"--body '{text}': must leave {', '.join(taken)} to the command. Remove it.")
    return value
