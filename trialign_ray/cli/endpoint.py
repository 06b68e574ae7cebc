"""Options of the commands that ask a server, and the part of a specification that they make."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from typer import Option

from trialign_ray.errors import SpecError

_PANEL = "With --endpoint"

Body = Annotated[
    str | None, Option(metavar="JSON", help="Fields put into each request: '{\"temperature\": null}' leaves one out.")
]


_FIELDS = ("key_env", "concurrency", "requests_per_minute", "attempts", "cache", "replay", "logprobs")
"""Options by the names that they have in the specification."""


@dataclass(frozen=True, kw_only=True)
class ServerOptions:
    """Which server is asked, and how."""

    endpoint: Annotated[
        str | None,
        Option(metavar="URL", help="Ask a server of OpenAI chat completions; the URL often ends with /v1."),
    ] = None
    key_env: Annotated[
        str | None,
        Option(
            metavar="NAME",
            help="Environment variable with the API key (TRIALIGN_ENDPOINT_KEY).",
            rich_help_panel=_PANEL,
        ),
    ] = None
    concurrency: Annotated[int | None, Option(help="Requests under way at once (8).", rich_help_panel=_PANEL)] = None
    requests_per_minute: Annotated[
        int | None, Option(help="Most requests begun in a minute; no limit by default.", rich_help_panel=_PANEL)
    ] = None
    attempts: Annotated[
        int | None, Option(help="How often a request is sent before the run stops (8).", rich_help_panel=_PANEL)
    ] = None
    timeout: Annotated[
        float | None, Option(metavar="SECONDS", help="How long one attempt may take (120).", rich_help_panel=_PANEL)
    ] = None
    cache: Annotated[
        str | None,
        Option(metavar="FOLDER", help="Where answers are kept, and found again, by request.", rich_help_panel=_PANEL),
    ] = None
    replay: Annotated[
        bool | None,
        Option("--replay", help="Take answers from the cache alone, with the network off.", rich_help_panel=_PANEL),
    ] = None
    body: Body = None


def endpoint_part(options: Mapping[str, Any], model: str | None) -> dict[str, Any] | None:
    """The fields that a command's options give, None where they give none. `model` is the server's name for it.

    Raises SpecError.
    """
    url, seconds, body = (options[name] for name in ("endpoint", "timeout", "body"))
    fields = {"url": url, "model": model, "timeout_seconds": seconds, "body": request_fields(body)}
    fields |= {name: options.get(name) for name in _FIELDS}
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
