"""Hostile bytes at every door: no 5xx, no growth of the service, nothing that cannot be listed or deleted."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from tests.unit.api import hostile
from tests.unit.api.fake import Plane, plane

pytestmark = pytest.mark.anyio
_GROWTH_BYTES = 200 << 20
_FORM = {"Content-Type": "multipart/form-data; boundary=x"}
_JSON = {"Content-Type": "application/json"}


@dataclass
class Stranger:
    """Has a key and good luck: what it has made it names again."""

    control: Plane
    auth: dict[str, str]
    admin: dict[str, str]
    draw: random.Random
    logs: dict[str, bytes]
    archives: dict[str, bytes]
    files: list[str] = field(default_factory=lambda: ["file-" + "0" * 28])
    uploads: list[str] = field(default_factory=list)

    async def shoot(self) -> None:
        """One thing that somebody might do."""
        doors: list[Callable[[], Awaitable[None]]] = [
            self.submit, self.fine_tune, self.upload_dataset, self.upload_file, self.upload_in_parts, self.look,
            self.knock,
        ]  # fmt: skip
        await self.draw.choice(doors)()

    async def submit(self) -> None:
        path = self.draw.choice(["/v1/jobs", "/v1/jobs:validate"])
        await self.post(path, content=hostile.job(self.draw), headers=_JSON)

    async def fine_tune(self) -> None:
        body = hostile.fine_tuning(self.draw, self.draw.choice(self.files))
        await self.post("/v1/fine_tuning/jobs", content=body, headers=_JSON)

    async def upload_dataset(self) -> None:
        name = self.draw.choice([name for name in self.logs if not name.endswith(("yaml", "json"))])
        query = {"name": "mine", "format": name.partition(".")[2], "strict": self.draw.choice(["true", "false"])}
        await self.post("/v1/datasets", params=query, content=self.logs[name])

    async def upload_file(self) -> None:
        name, data, purpose = self.input()
        told = self.draw.choice(hostile.NAMES) if self.draw.random() < 0.3 else name.encode()
        answer = await self.post("/v1/files", content=hostile.form(told, data, purpose), headers=_FORM)
        self.files += [answer.json()["id"]] if answer.status_code == 200 else []

    async def upload_in_parts(self) -> None:
        name, data, purpose = self.input()
        size = self.draw.choice([len(data), 1, 1 << 62])
        about = {"bytes": size, "filename": name, "mime_type": "", "purpose": purpose.replace("\ud800", "")}
        answer = await self.post("/v1/uploads", json=about)
        if answer.status_code != 200:
            return
        upload = answer.json()["id"]
        self.uploads.append(upload)
        part = await self.post(f"/v1/uploads/{upload}/parts", files={"data": data})
        ids = [part.json().get("id", "part-" + "0" * 28)] * self.draw.choice([1, 1, 1, 2])
        if self.draw.random() < 0.7:
            await self.post(f"/v1/uploads/{upload}/complete", json={"part_ids": ids})

    async def look(self) -> None:
        path = self.draw.choice(hostile.READ) + self.draw.choice(hostile.PLACES)
        if self.draw.random() < 0.3:
            path = f"/v1/files/{self.draw.choice(self.files)}/content"
        await self.send("GET", path, headers=self.draw.choice([self.auth, self.admin]))

    async def knock(self) -> None:
        token = self.draw.choice(hostile.TOKENS)
        await self.send("GET", "/v1/jobs", headers=[(b"Authorization", token.encode("latin-1"))])

    def input(self) -> tuple[str, bytes, str]:
        """Name and bytes of a file, and what it shall be for: mostly what its name says."""
        name, data = self.draw.choice([*(self.logs | self.archives).items()])
        usual = {"tar": "model", "yaml": "questions", "json": "groups"}.get(name.rpartition(".")[2], "fine-tune")
        return name, data, self.draw.choice([usual, usual, usual, *hostile.PURPOSES])

    async def post(self, path: str, headers: dict[str, str] | None = None, **given: Any) -> httpx.Response:
        return await self.send("POST", path, headers=self.auth | (headers or {}), **given)

    async def send(self, method: str, path: str, **given: Any) -> httpx.Response:
        answer = await self.control.client.request(method, path, **({"headers": self.auth} | given))
        assert answer.status_code < 500, (method, path, answer.text)
        return answer

    async def listed(self, path: str, **query: str) -> list[Any]:
        answer = await self.send("GET", path, params=query, headers=self.admin)
        assert answer.status_code == 200, answer.text
        found: list[Any] = answer.json()["data"]
        return found


async def settled(stranger: Stranger) -> list[Any]:
    """Every job, none of which waits for its check."""
    while True:
        await stranger.control.tick()
        jobs = await stranger.listed("/v1/jobs", limit="500")
        if not any(job["status"] == "validating" for job in jobs):
            return jobs


@pytest.mark.parametrize(("seed", "shots"), [(0, 80), pytest.param(0, 250, marks=pytest.mark.long)])
async def test_no_input_breaks_the_service(seed: int, shots: int, tmp_path: Path) -> None:
    process = psutil.Process()
    async with plane(tmp_path, check_bytes=1 << 30, check_seconds=4, import_seconds=4) as control:
        ada, admin = await control.key("ada", "submit"), await control.key("root", "admin")
        stranger = Stranger(control, ada, admin, random.Random(seed), hostile.files(), hostile.archives())
        for name, data in stranger.logs.items():
            (Path(control.settings.workspace) / name).write_bytes(data)
        good = hostile.form(b"fine.jsonl", stranger.logs["fine.jsonl"], "fine-tune")
        made_of = (await stranger.post("/v1/files", content=good, headers=_FORM)).json()["id"]
        stranger.files += [made_of] * 8  # so that some fine-tuning jobs are taken
        before = process.memory_info().rss
        for _ in range(shots):
            await stranger.shoot()
        jobs = await settled(stranger)
        assert process.memory_info().rss - before < _GROWTH_BYTES
        made = {path: await stranger.listed(path) for path in ("/v1/datasets", "/v1/files", "/v1/fine_tuning/jobs")}
        assert jobs
        assert all(made.values())
        assert await stranger.listed("/v1/audit", limit="500")
        assert await stranger.listed("/v1/keys")
        await all_goes(stranger, [f"/v1/jobs/{job['id']}" for job in jobs])
        await all_goes(stranger, [f"/v1/files/{file['id']}" for file in made["/v1/files"]])
        for upload in stranger.uploads:
            await stranger.post(f"/v1/uploads/{upload}/cancel")
        for path in ("/v1/jobs", *made):
            assert await stranger.listed(path) == []
        assert not [left for folder in ("datasets", "uploads") for left in (control.settings.data / folder).iterdir()]


async def all_goes(stranger: Stranger, paths: list[str]) -> None:
    for path in paths:
        answer = await stranger.send("DELETE", path)
        assert answer.status_code == 200, answer.text
