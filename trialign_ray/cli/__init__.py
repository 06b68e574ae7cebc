"""The command `trialign`."""

from __future__ import annotations

from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> None:
    """Run `trialign` with `arguments`, by default those of the process, and exit with its status."""
    from trialign_ray.cli.app import app

    app(args=arguments, prog_name="trialign")
