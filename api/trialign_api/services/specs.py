"""From what a caller sends to what a job gets: parse, confine places, give it a run folder of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError
from sqlalchemy.ext.asyncio import AsyncSession

from trialign_api import paths
from trialign_api.auth import Principal
from trialign_api.kinds import JobKind
from trialign_api.paths import Refused, Roots
from trialign_api.problems import ApiError, InvalidField, faults_of, where
from trialign_api.store.models import Dataset
from trialign_ray.config.base import Strict


@dataclass(frozen=True, slots=True)
class Resolved:
    """A specification that may run."""

    kind: JobKind
    spec: Strict
    """As given."""
    effective: dict[str, Any]
    """As the job gets it."""
    run: str | None
    """The run folder, where the kind has one."""


@dataclass(frozen=True, slots=True)
class Specs:
    """Resolves specifications."""

    kinds: Mapping[str, JobKind]
    roots: Roots

    def parse(self, given: Mapping[str, Any]) -> tuple[JobKind, Strict]:
        """The kind and its validated specification; raises ApiError with a pointer to each wrong field."""
        named = given.get("kind")
        kind = self.kinds.get(named) if isinstance(named, str) else None
        if kind is None:
            known = ", ".join(sorted(self.kinds))
            fault = InvalidField(pointer="/body/spec/kind", code="bad_spec", detail=f"must be one of {known}")
            raise ApiError(422, "bad_spec", f"field 'kind' must be one of {known}.", [fault])
        try:
            return kind, kind.spec.model_validate(given)
        except ValidationError as error:
            faults = faults_of(error.errors(include_url=False), ("body", "spec"))
        raise ApiError(422, "bad_spec", f"The specification is not valid at {where(faults)}.", faults)

    async def resolve(self, session: AsyncSession, given: Mapping[str, Any], who: Principal, job_id: str) -> Resolved:
        """What the job `job_id` gets.

        `who` is whose workspace it is and, unless an admin, whose datasets may be named. Raises ApiError.
        """
        kind, spec = self.parse(given)
        effective, faults = spec.model_dump(mode="json"), []
        for field in (*kind.reads, *kind.writes):
            place = paths.at(effective, field)
            if place is not None:
                try:
                    found = await self._place(session, place, who, writes=field in kind.writes)
                    effective = paths.put(effective, field, found)
                except Refused as refused:
                    faults.append(paths.refusal(field, refused.reason))
        if faults:
            raise ApiError(422, "bad_place", f"What it names at {where(faults)} may not be used.", faults)
        return self._with_run(kind, spec, effective, job_id)

    async def _place(self, session: AsyncSession, place: str, who: Principal, *, writes: bool) -> str:
        dataset = paths.dataset_of(place)
        if dataset is None:
            roots = self.roots.of(who.owner)
            return roots.writing(place) if writes else roots.reading(place)
        row = None if writes else await session.get(Dataset, dataset)
        if row is None or who.sees not in (None, row.owner):
            raise Refused(f"'{place}' is no dataset that can be used here")
        return row.path

    def _with_run(self, kind: JobKind, spec: Strict, effective: dict[str, Any], job_id: str) -> Resolved:
        """Run folders lie in a folder of the job's own: equal names of two jobs do not meet."""
        if not kind.runs:
            return Resolved(kind, spec, effective, None)
        effective = {**effective, "runs": f"{effective['runs'].rstrip('/')}/{job_id}"}
        return Resolved(kind, spec, effective, f"{effective['runs']}/{effective['name']}")
