"""Options that several commands of the service share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Url = Annotated[str, typer.Option("--url", envvar="TRIALIGN_URL", help="URL of the control plane.")]
Key = Annotated[str, typer.Option("--key", envvar="TRIALIGN_KEY", help="API key made by `trialign keys create`.")]
Data = Annotated[
    Path, typer.Option("--data", envvar="TRIALIGN_DATA", help="Folder of the control plane's database and files.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
LOCAL_URL = "http://127.0.0.1:8000"
DATA_FOLDER = Path("trialign-data")
