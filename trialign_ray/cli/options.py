"""Options that several commands of the service share, and the client that they make."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from trialign_api.client import Client

Url = Annotated[str, typer.Option("--url", envvar="TRIALIGN_URL", help="URL of the control plane.")]
Key = Annotated[str, typer.Option("--key", envvar="TRIALIGN_KEY", help="API key made by `trialign keys create`.")]
Data = Annotated[
    Path, typer.Option("--data", envvar="TRIALIGN_DATA", help="Folder of the control plane's database and files.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
LOCAL_URL = "http://127.0.0.1:8000"
DATA_FOLDER = Path("trialign-data")


def client(url: str, key: str) -> Client:
    """The service at `url`, as the owner of `key` reaches it."""
    from trialign_api.client import Client

    return Client(url, key)
