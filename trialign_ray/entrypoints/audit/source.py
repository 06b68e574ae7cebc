"""What a source of answers gives to the report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pyarrow as pa
from pydantic import JsonValue

from trialign_ray.evaluation.closed_set import ScoredOptions


@dataclass(frozen=True, slots=True)
class AuditedAnswers:
    """Answers to audit, and where they come from."""

    table: pa.Table
    """Rows in the log schema."""
    facts: Mapping[str, JsonValue] = field(default_factory=dict)
    """Of the source, for the report: hashes, files, counts."""
    notes: tuple[str, ...] = ()
    """What the user should know before reading the report, a sentence each."""
    closed_set: ScoredOptions | None = None
    """What the report says of options that were scored; None of free answers."""
