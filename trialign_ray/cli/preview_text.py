"""A preview of logs as text and as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trialign_ray.data.preview import Preview, StoredRow

_WIDTH = 100
"""Characters of a field's value that are shown."""
_PROBLEMS = 5
"""The first that are shown in full."""


def as_text(preview: Preview) -> str:
    """Shapes, faults and the first rows, for people."""
    found = preview.found
    read = f"{preview.read} rows read{'' if preview.whole else ', there are more'}"
    lines = [f"{read}; as rows of one response {found.rows}, of which {found.bad_rows} are bad"]
    lines += [f"recognised: {one.name} ({one.what}) in {one.rows} rows: {one.why}" for one in preview.shapes]
    lines += [f"  {rows:>8}  {fault}" for fault, rows in sorted(found.counts.items(), key=lambda item: -item[1])]
    lines += [f"  {problem}" for problem in found.problems[:_PROBLEMS]]
    lines += [f"left out: '{name}' of {rows} rows" for name, rows in preview.ignored.items()]
    lines += [f"note: {warning}" for warning in found.warnings]
    for row in preview.stored:
        lines += ["", *_row(row)]
    return "\n".join(lines)


def as_object(preview: Preview) -> str:
    """All of it as JSON."""
    return json.dumps(asdict(preview), indent=2, default=str)


def _row(row: StoredRow) -> list[str]:
    lines = [f"{row.file}:{row.row} {'is bad' if row.faults else 'would be stored as'}"]
    lines += [f"  {name:<18} {_short(value)}" for name, value in row.fields.items()]
    return lines + [f"  fault: {fault}" for fault in row.faults]


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    text = " ".join(text.split())
    return text if len(text) <= _WIDTH else f"{text[:_WIDTH]}… ({len(text)} characters)"
