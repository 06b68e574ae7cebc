"""From what a caller sends to what a job gets: parse, confine paths, give it a run folder of its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError
from sqlalchemy import select

from trialign_api import paths, threads
from trialign_api.auth import Principal
from trialign_api.kinds import ServedKind
from trialign_api.paths import Refused, Roots, lexical
from trialign_api.problems import ApiError, escape, faults_of, where
from trialign_api.schemas import InvalidField
from trialign_api.store.engine import Store
from trialign_api.store.models import LOGS, DatasetRow
from trialign_ray.config.base import Strict
from trialign_ray.config.endpoint import KEY_ENV, EndpointSpec

PURPOSE_OF = {
    "logs": LOGS,
    "unasked_in": LOGS,
    "questions": "questions",
    "groups": "groups",
    "model": "model",
    "adapter": "adapter",
}
"""Purpose of the upload that a field may name, by the last part of the field; any other may name any."""
_IMPORT = "import_path"
"""Field and name with which a specification of the library names code of the user's own."""


@dataclass(frozen=True, slots=True)
class Resolved:
    """A specification that may run."""

    kind: ServedKind
    spec: Strict
    """As given."""
    effective: dict[str, Any]
    """As the job gets it."""
    run: str | None
    """The run folder, where the kind has one."""


@dataclass(frozen=True, slots=True)
class Specs:
    """Resolves specifications."""

    kinds: Mapping[str, ServedKind]
    roots: Roots
    store: Store
    endpoints: tuple[str, ...] = ()
    """Base URLs of the servers that may be asked."""

    def parse(self, given: Mapping[str, Any]) -> tuple[ServedKind, Strict]:
        """The kind and its validated specification; raises ApiError with a pointer to each wrong field.

        An import path is refused before anything else is looked at: it would run a caller's code on the cluster. A
        server is asked from inside the cluster's network and with its key, so only the operator's own are.
        """
        if imports := [_import_fault(pointer) for pointer in _imports(given)]:
            detail = f"The service runs built-in implementations only; remove the import path at {where(imports)}."
            raise ApiError(422, "bad_spec", detail, imports)
        named = given.get("kind")
        kind = self.kinds.get(named) if isinstance(named, str) else None
        if kind is None:
            known = ", ".join(sorted(self.kinds))
            fault = InvalidField(pointer="/body/spec/kind", code="bad_spec", detail=f"must be one of {known}")
            raise ApiError(422, "bad_spec", f"field 'kind' must be one of {known}.", [fault])
        try:
            spec = kind.spec.model_validate(given)
        except ValidationError as error:
            faults = faults_of(error.errors(include_url=False), ("body", "spec"))
        else:
            if not (closed := list(_closed(getattr(spec, "endpoint", None), self.endpoints))):
                return kind, spec
            detail = f"The service asks only the servers that its operator lists; change {where(closed)}."
            raise ApiError(422, "bad_spec", detail, closed)
        raise ApiError(422, "bad_spec", f"The specification is not valid at {where(faults)}.", faults)

    async def resolve(self, given: Mapping[str, Any], who: Principal, job_id: str) -> Resolved:
        """What the job `job_id` gets. Call it outside of a transaction: its paths may lie on storage that hangs.

        `who` is whose workspace it is and, unless an admin, whose datasets may be named. Raises ApiError, and
        TimeoutError where storage does not answer.
        """
        kind, spec = self.parse(given)
        effective = spec.model_dump(mode="json")
        named = {f: path for f in (*kind.reads, *kind.writes) if (path := paths.at(effective, f)) is not None}
        datasets = await self._datasets(who, list(named.values()))
        storage = [lexical(path, self.roots.workspace) for path in named.values()]
        found = await threads.call(self._confine, kind, named, datasets, who.owner, storage=storage)
        faults = [paths.refusal(field, path.reason) for field, path in found.items() if isinstance(path, Refused)]
        if faults:
            raise ApiError(422, "bad_path", f"The path at {where(faults)} may not be used.", faults)
        for field, path in found.items():
            effective = paths.put(effective, field, path)
        return self._with_run(kind, spec, effective, job_id)

    async def _datasets(self, who: Principal, named: Sequence[str]) -> dict[str, DatasetRow]:
        """Those uploads among `named` that the caller may use, by id."""
        wanted = [dataset for path in named if (dataset := paths.dataset_of(path)) is not None]
        if not wanted:
            return {}
        async with self.store.reads() as session:
            rows = await session.scalars(select(DatasetRow).where(DatasetRow.id.in_(wanted)))
            return {row.id: row for row in rows if who.sees in (None, row.owner)}

    def _confine(
        self, kind: ServedKind, named: Mapping[str, str], datasets: Mapping[str, DatasetRow], owner: str
    ) -> dict[str, str | Refused]:
        """Field -> absolute path, or why it may not be used. Blocking."""
        return {
            field: self._allowed(path, datasets, owner, None if field in kind.writes else field.rpartition(".")[2])
            for field, path in named.items()
        }

    def _allowed(self, path: str, datasets: Mapping[str, DatasetRow], owner: str, read_as: str | None) -> str | Refused:
        """`read_as` is the last part of the field that is read; None of one that is written."""
        dataset = paths.dataset_of(path)
        try:
            if dataset is None:
                roots = self.roots.of(owner)
                return roots.writing(path) if read_as is None else roots.reading(path)
        except Refused as refused:
            return refused
        if read_as is None or dataset not in datasets:
            return Refused(f"'{path}' is not an upload that can be used here")
        row = datasets[dataset]
        if PURPOSE_OF.get(read_as, row.purpose) != row.purpose:
            return Refused(f"'{path}' was uploaded as '{row.purpose}'. Upload it for '{PURPOSE_OF[read_as]}'.")
        return row.path

    def _with_run(self, kind: ServedKind, spec: Strict, effective: dict[str, Any], job_id: str) -> Resolved:
        """Run folders lie in a folder of the job's own: equal names of two jobs do not meet."""
        if not kind.run_folder:
            return Resolved(kind, spec, effective, None)
        effective = {**effective, "runs": f"{effective['runs'].rstrip('/')}/{job_id}"}
        return Resolved(kind, spec, effective, f"{effective['runs']}/{effective['name']}")


def _imports(value: Any, pointer: tuple[object, ...] = ()) -> Iterator[tuple[object, ...]]:
    """Where `value` has an import path, at any depth: a field of that name, or an implementation that is named so."""
    inner = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list) else ()
    for name, part in inner:
        if name == _IMPORT or (part == _IMPORT and pointer):  # at the top it may be the name of the run
            yield *pointer, name
        else:
            yield from _imports(part, (*pointer, name))


def _closed(endpoint: EndpointSpec | None, allowed: Sequence[str]) -> Iterator[InvalidField]:
    """Why a server may not be asked; another variable than the usual one could be any secret of the cluster."""
    if endpoint is None:
        return
    if endpoint.url not in {url.rstrip("/") for url in allowed}:
        listed = ", ".join(allowed) or "none"
        detail = f"is not a server that may be asked here (TRIALIGN_ENDPOINTS: {listed})"
        yield InvalidField(pointer="/body/spec/endpoint/url", code="bad_spec", detail=detail)
    if endpoint.key_env != KEY_ENV:
        detail = f"must be left out: jobs of the service take the key from {KEY_ENV}"
        yield InvalidField(pointer="/body/spec/endpoint/key_env", code="bad_spec", detail=detail)


def _import_fault(pointer: Sequence[object]) -> InvalidField:
    detail = "names code by import path, which only the library and the command line accept"
    return InvalidField(pointer="/body/spec/" + "/".join(map(escape, pointer)), code="bad_spec", detail=detail)
