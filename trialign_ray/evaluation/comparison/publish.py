"""Write a comparison's files."""

from __future__ import annotations

from trialign_ray.evaluation.comparison.markdown import to_markdown
from trialign_ray.evaluation.comparison.model import Comparison
from trialign_ray.evaluation.comparison.page import to_html
from trialign_ray.io.storage import LocationLike, atomic_file, locate, writing


def publish(found: Comparison, folder: LocationLike) -> None:
    """Write `comparison.md`, `comparison.html` and `comparison.json` into `folder`; each appears whole.

    Raises DataError where the folder cannot be written, and MissingExtraError without matplotlib.
    """
    texts = {
        "comparison.md": to_markdown(found),
        "comparison.html": to_html(found),
        "comparison.json": found.model_dump_json(indent=2) + "\n",
    }
    for name, text in texts.items():
        target = locate(folder).child(name)
        with writing(target.uri), atomic_file(target) as file:
            file.write(text.encode())
