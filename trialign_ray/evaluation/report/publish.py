"""Write a report's files."""

from __future__ import annotations

from trialign_ray.evaluation.report.page import to_html
from trialign_ray.evaluation.report.report import Report, to_json
from trialign_ray.io.storage import LocationLike, atomic_file, locate, writing


def publish(report: Report, folder: LocationLike) -> None:
    """Write `report.json` and `report.html` into `folder`, a path or a pyarrow filesystem URI; each appears whole.

    The JSON comes last: where it is, the report is complete.

    Raises:
        DataError: the folder cannot be written.
    """
    for name, text in (("report.html", to_html(report)), ("report.json", to_json(report))):
        target = locate(folder).child(name)
        with writing(target.uri), atomic_file(target) as file:
            file.write(text.encode())
