"""Import logs: JSONL, Parquet, chat formats or another dataset in, one partitioned log dataset out.

Rows are read, completed, checked and written in batches, so that a log of any size needs little memory. Every row that
is read is either imported or rejected, never dropped.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.compute as pc

from trialign_ray.data.fields import FIELD_CHECKS, FieldFault
from trialign_ray.data.manifest import Manifest, check_groups
from trialign_ray.data.normalisation import Completer, Completion
from trialign_ray.data.plain_index import PlainIndex
from trialign_ray.data.plain_rows import Plain, plain
from trialign_ray.data.processes import mapped
from trialign_ray.data.readers import Chunk, RawRow, read_chunks
from trialign_ray.data.rejects import Rejects
from trialign_ray.data.row_index import Untrained
from trialign_ray.data.schema import SCHEMA
from trialign_ray.data.shapes import AS_LOG, LOG
from trialign_ray.data.validation import DatasetChecks, Tally, Validation, row_faults
from trialign_ray.data.writer import LogWriter
from trialign_ray.errors import DataError, RowProblem
from trialign_ray.io.storage import LocationLike, beside, locate

_BATCH_ROWS = 512
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class ImportReport:
    """What an import did: rows_in = rows_imported + rows_rejected; a preference pair is two rows."""

    rows_in: int
    rows_imported: int
    rows_rejected: int
    reject_file: str | None
    """None where no row was rejected."""
    reject_counts: Mapping[str, int]
    """'field: kind of fault' -> rejected rows that have it."""
    problems: tuple[RowProblem, ...]
    """The first PROBLEMS_KEPT."""
    warnings: tuple[str, ...]
    untrained: Untrained
    """Imported rows that can never train."""
    ignored: Mapping[str, int]
    """Field that the caller had ignored -> rows that had it."""
    shapes: Mapping[str, tuple[str, int]]
    """Shape of the sources' rows -> by what it was recognised, and how many rows have it."""
    manifest: Manifest


def import_logs(
    sources: Sequence[LocationLike],
    target: LocationLike,
    completion: Completion | None = None,
    *,
    groups: Sequence[str] | None = None,
    strict: bool = False,
    max_rejected: float = 0.5,
    reject_file: LocationLike | None = None,
    reject_bytes: int | None = None,
    shown_as: str | None = None,
    overwrite: bool = False,
    processes: int = 1,
) -> ImportReport:
    """Import `sources` (files or datasets, see `read_rows`) into a new log dataset at `target`.

    `groups` names the groups in order, the control first, and rows of others are bad; without it they are those seen,
    the control first. Under `strict` any bad row refuses the import, otherwise a larger share of them than
    `max_rejected`; fewer go to `reject_file`, by default `<target>.rejects.jsonl`, as far as `reject_bytes` reach: a
    warning counts the others. There a source is called `shown_as` where that is given. `overwrite` replaces the dataset
    and the reject file. Rows of the schema that need no completing are checked in `processes`; with more than one the
    caller's main module must be importable, as for any new process of Python.

    Raises RowError (too many bad rows, or no good row), DataError (unreadable source, target in use, no rows) and
    SpecError (a path to what is no field); nothing is written then.
    """
    reject_file = beside(target, ".rejects.jsonl") if reject_file is None else reject_file
    checker = RowChecker(completion or Completion(), groups)
    with (
        Rejects(
            reject_file,
            strict=strict,
            max_share=max_rejected,
            overwrite=overwrite,
            most_bytes=reject_bytes,
            shown_as=shown_as,
        ) as rejects,
        LogWriter(target, overwrite=overwrite) as writer,
    ):
        for chunk, table in checker.taken(sources, processes):
            if table is not None:
                rejects.tally.rows += table.num_rows
                writer.write(table)
                continue
            for batch in _batches(chunk.rows(), _BATCH_ROWS):
                writer.write(pa.Table.from_pylist(_good_rows(batch, checker, rejects), schema=SCHEMA))
        _check_counts(rejects.tally, writer.rows, sources)
        written_rejects = rejects.commit()
        manifest = writer.commit(groups)
    return _report(rejects, checker, manifest, written_rejects)


def validate_sources(
    sources: Sequence[LocationLike],
    completion: Completion | None = None,
    *,
    groups: Sequence[str] | None = None,
    processes: int = 1,
) -> Validation:
    """What `import_logs` would say of `sources`, writing nothing; raises DataError for an unreadable source."""
    checker, tally = RowChecker(completion or Completion(), groups), Tally()
    for chunk, table in checker.taken(sources, processes):
        if table is not None:
            tally.rows += table.num_rows
            continue
        for raw in chunk.rows():
            for _, faults in checker.check(raw):
                tally.add(raw, faults)
    return tally.outcome(checker.warnings(), checker.untrained())


class RowChecker:
    """Completes and checks rows one after the other, the dataset-wide rules included."""

    def __init__(
        self, completion: Completion, groups: Sequence[str] | None, *, spared: Collection[str] = frozenset()
    ) -> None:
        """`spared` fields may be absent or differ between rows, for readers that have no use for them.

        Raises DataError for groups that cannot be, and SpecError for a path to what is no field.
        """
        names = None if groups is None else frozenset(check_groups(groups, "groups"))
        self._completer = Completer(completion)
        self._checks = DatasetChecks(names, spared)
        self._spared = spared
        self._plain = PlainIndex(self._checks.index, self._completer.prompts, names)
        completes = completion.scorer is not None or completion.paths or completion.ignore or spared
        self._takes_tables = not completes
        """Whether rows can be good as they come."""

    def taken(self, sources: Sequence[LocationLike], processes: int) -> Iterator[tuple[Chunk, pa.Table | None]]:
        """Chunks of the sources, with their rows in SCHEMA where all are whole and good; others are yet to be checked.

        Raises DataError.
        """
        chunks = chain.from_iterable(map(read_chunks, sources))
        if not self._takes_tables:
            yield from ((chunk, None) for chunk in chunks)
            return
        for chunk, found in mapped(plain, chunks, processes):
            yield chunk, found.table if found is not None and self._take(chunk, found) else None

    def _take(self, chunk: Chunk, found: Plain) -> bool:
        if not self._plain.takes(found, chunk.file, chunk.first):
            return False
        self._checks.groups.update(pc.unique(found.table["group"]).to_pylist())
        self._completer.shapes[LOG] += found.table.num_rows
        self._completer.marks.setdefault(LOG, AS_LOG)
        return True

    @property
    def ignored(self) -> Mapping[str, int]:
        """Field that the caller had ignored -> rows that had it."""
        return dict(self._completer.ignored)

    @property
    def shapes(self) -> Mapping[str, tuple[str, int]]:
        """Shape of rows -> by what the first was recognised, and how many there are; the most frequent first."""
        return {name: (self._completer.marks[name], rows) for name, rows in self._completer.shapes.most_common()}

    def check(self, raw: RawRow) -> Iterator[tuple[dict[str, Any], list[FieldFault]]]:
        """The completed rows that a row of a source holds, one for each response, and what is wrong with each."""
        if raw.fault is not None:
            yield {}, [raw.fault]
            return
        for row, found in self._completer.rows(raw):
            faults = self._without_spared(row, _causes(found, row_faults(row)))
            yield row, faults or self._checks.faults(raw, row)

    def _without_spared(self, row: dict[str, Any], faults: list[FieldFault]) -> list[FieldFault]:
        """Faults but those of spared fields, which leave the row; unless the response is hidden behind one."""
        dropped = [fault for fault in faults if fault.field in self._spared]
        if "response" not in row:
            dropped = [fault for fault in dropped if fault.code == "missing"]
        for fault in dropped:
            row.pop(fault.field, None)
        return [fault for fault in faults if fault not in dropped]

    def notes(self) -> tuple[str, ...]:
        """What was done to rows that the user should know of, a sentence each."""
        return self._completer.notes()

    def warnings(self) -> tuple[str, ...]:
        """What is odd about the good rows as a whole, and what was done to them."""
        return (*self._checks.warnings(), *self.notes())

    def untrained(self) -> Untrained:
        """Good rows that can never train."""
        return self._checks.untrained()


_SOURCES = {
    "question": ("messages",),
    "prompt_ids": ("messages",),
    "response": ("messages",),
    "response_ids": ("messages", "response"),
    "answer_kind": ("messages", "response", "question_id"),
    "kind": ("references", "question_id"),
    "sample": ("question_id", "group", "protocol", "turn"),
    "reward_truth": ("messages", "response", "question_id"),
    "reward_preference": ("messages", "response", "preference"),
}
"""What is computed from which other fields."""
_NEVER_COMPUTED = ("question_id", "group", "response")


def _causes(found: Sequence[FieldFault], others: Iterable[FieldFault]) -> list[FieldFault]:
    """Faults without those that follow from them: what would be computed is missing because of another fault.

    `found` came up while the row was completed, which ends there.
    """
    if any(fault.field not in FIELD_CHECKS for fault in found):
        return list(found)  # the form of the row is not known, so nothing was found in it
    first: dict[str, FieldFault] = {}
    for fault in (*found, *others):
        first.setdefault(fault.field, fault)
    faulty = {fault.field for fault in first.values() if fault.code != "missing" or fault.field in _NEVER_COMPUTED}

    def follows(fault: FieldFault) -> bool:
        sources = _SOURCES.get(fault.field, ())
        return fault.code == "missing" and bool(sources) and (bool(found) or not faulty.isdisjoint(sources))

    return [fault for fault in first.values() if fault in found or not follows(fault)]


def _good_rows(batch: Iterable[RawRow], checker: RowChecker, rejects: Rejects) -> list[dict[str, Any]]:
    good = []
    for raw in batch:
        for row, faults in checker.check(raw):
            rejects.add(raw, faults)
            if not faults:
                good.append(row)
    return good


def _batches(items: Iterator[_T], size: int) -> Iterator[list[_T]]:
    while batch := list(islice(items, size)):
        yield batch


def _check_counts(tally: Tally, rows_written: int, sources: Sequence[LocationLike]) -> None:
    if not tally.rows:
        raise DataError(
            f"{', '.join(locate(source).uri for source in sources)}: no rows. Give at least one file with rows."
        )
    if tally.rows != rows_written + tally.bad_rows:
        raise AssertionError(f"{tally.rows} rows in, {rows_written} imported, {tally.bad_rows} rejected")


def _report(rejects: Rejects, checker: RowChecker, manifest: Manifest, reject_file: str | None) -> ImportReport:
    tally = rejects.tally
    return ImportReport(
        rows_in=tally.rows,
        rows_imported=manifest.rows,
        rows_rejected=tally.bad_rows,
        reject_file=reject_file,
        reject_counts=dict(tally.counts),
        problems=tuple(tally.problems),
        warnings=(*checker.warnings(), *rejects.notes()),
        untrained=checker.untrained(),
        ignored=checker.ignored,
        shapes=checker.shapes,
        manifest=manifest,
    )
