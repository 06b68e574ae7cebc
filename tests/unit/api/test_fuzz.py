"""Hostile bytes at every door: no 5xx, no growth of the service, nothing that cannot be listed or deleted."""

from __future__ import annotations

import gzip
import io
import json
import random
from itertools import pairwise
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.unit.api.fake import Plane, plane

pytestmark = pytest.mark.anyio
_SHOTS = 150
_GROWTH_BYTES = 200 << 20
TEXTS: tuple[str, ...] = (
    r'"\ud800"', r'"\u0000"', '"' + "x" * 100_000 + '"', "NaN", "-Infinity", "1e400", "9" * 4000, "-0.0", "null",
    "true", "[]", "{}", '{"\\ud800": 1}', '{"\\u0000": 1}', "[" * 900 + "]" * 900, "[" * 100_000, '"\u202e\U0001f600"',
    '"../../etc/passwd"', '"file:///etc/passwd"', '"s3://h/\\u0000"', r'"a\\b"', '"~"', '"datasets/ds-0"', '"\\n"',
)  # fmt: skip
"""JSON of one value."""
FIELDS = ("kind", "name", "model", "questions", "groups", "fail_if", "samples", "runs", "logs", "endpoint", "x")


def parquet_bomb() -> bytes:
    """Some hundred bytes that unpack to one text of 8 MB in each of 5,000 rows."""
    text = pa.array(["x" * (8 << 20)])
    table = pa.table({"response": pa.DictionaryArray.from_arrays(pa.array([0] * 5000, pa.int32()), text)})
    packed = io.BytesIO()
    pq.write_table(table, packed, compression="zstd", use_dictionary=True)
    return packed.getvalue()


def laughs() -> bytes:
    """A few hundred bytes of YAML that stand for 9^10 texts."""
    lines = ["a: &a [x,x,x,x,x,x,x,x,x]"]
    for before, name in pairwise("abcdefghij"):
        lines.append(f"{name}: &{name} [{','.join([f'*{before}'] * 9)}]")
    return "\n".join(lines).encode()


def files() -> dict[str, bytes]:
    """By name: bodies of uploads, and files that a specification may name."""
    row = {"question_id": "q", "group": "neutral", "response": "\ud800\0"}
    return {
        "nul.jsonl": (json.dumps(row) + "\n").encode(),
        "raw.jsonl": b"\x00\xff\xfe\n",
        "deep.jsonl": b"[" * 1_000_000,
        "line.jsonl.gz": gzip.compress(b"x" * (80 << 20), 1),
        "broken.jsonl.gz": gzip.compress(b"{}\n" * 1000)[:-20],
        "dictionary.parquet": parquet_bomb(),
        "short.parquet": b"PAR1PAR1",
        "laughs.yaml": laughs(),
        "surrogate.yaml": b'name: "\\ud800"\nquestions: [{question_id: "\\0", text: "\\ud800"}]\n',
        "deep.yaml": b"[" * 20_000,
        "nan.json": b'{"name": NaN, "questions": [{"question_id": "\\ud800"}]}',
    }  # fmt: skip


def body(draw: random.Random) -> str:
    """A job of an audit with some of its fields, labels and surroundings broken."""
    fields = {"kind": '"audit"', "name": '"x"', "model": '"m"', "questions": '"laughs.yaml"', "groups": '"nan.json"'}
    fields |= {field: json.dumps(name) for field in ("questions", "groups") for name in [draw.choice([*files()])]}
    for _ in range(draw.randrange(3)):
        fields[draw.choice(FIELDS)] = draw.choice(TEXTS)
    spec = ", ".join(f'"{name}": {value}' for name, value in fields.items())
    labels = f'{{"team": {draw.choice(TEXTS)}}}' if draw.random() < 0.2 else "{}"
    return f'{{"spec": {{{spec}}}, "labels": {labels}}}' if draw.random() < 0.95 else draw.choice(TEXTS)


async def shoot(control: Plane, auth: dict[str, str], draw: random.Random, held: dict[str, bytes]) -> Any:
    """One request that somebody might send."""
    client, odd = control.client, draw.choice(["%00", "%ED%A0%80", "%FF", "a" * 3000, "-1", "9" * 30, "..%2F.."])
    kind = draw.randrange(4)
    if kind == 0:
        return await client.post(
            draw.choice(["/v1/jobs", "/v1/jobs:validate"]),
            content=body(draw),
            headers=auth | {"Content-Type": "application/json"},
        )
    if kind == 1:
        name = draw.choice([name for name in held if not name.endswith(("yaml", "json"))])
        query = {"name": "mine", "format": name.partition(".")[2], "strict": draw.choice(["true", "false"])}
        return await client.post("/v1/datasets", params=query, content=held[name], headers=auth)
    if kind == 2:
        path = draw.choice(["/v1/jobs?owner=", "/v1/jobs?after=", "/v1/jobs?label=", "/v1/jobs/", "/v1/datasets/"])
        return await client.get(path + odd, headers=auth)
    token = draw.choice(["Bearer \x80", "Bearer tk_0_0", "\x00", "Bearer " + "a" * 5000])
    return await client.get("/v1/jobs", headers=[(b"Authorization", token.encode("latin-1"))])


async def settled(control: Plane, auth: dict[str, str]) -> list[Any]:
    """Every job, none of which waits for its check."""
    while True:
        await control.tick()
        answer = await control.client.get("/v1/jobs", params={"limit": 500}, headers=auth)
        assert answer.status_code == 200, answer.text
        jobs: list[Any] = answer.json()["data"]
        if not any(job["status"] == "validating" for job in jobs):
            return jobs


async def test_no_input_breaks_the_service(tmp_path: Path) -> None:
    draw, held, process = random.Random(0), files(), psutil.Process()
    async with plane(tmp_path, check_bytes=1 << 30, check_seconds=4, import_seconds=4) as control:
        ada, admin = await control.key("ada", "submit"), await control.key("root", "admin")
        for name, data in held.items():
            (Path(control.settings.workspace) / name).write_bytes(data)
        before = process.memory_info().rss
        for _ in range(_SHOTS):
            answer = await shoot(control, ada, draw, held)
            assert answer.status_code < 500, answer.text
        jobs = await settled(control, admin)
        assert jobs
        assert process.memory_info().rss - before < _GROWTH_BYTES
        for job in jobs:
            answer = await control.client.delete(f"/v1/jobs/{job['id']}", headers=ada)
            assert answer.status_code == 200, answer.text
        for dataset in (await control.client.get("/v1/datasets", headers=admin)).json()["data"]:
            answer = await control.client.delete(f"/v1/datasets/{dataset['id']}", headers=ada)
            assert answer.status_code == 200, answer.text
        assert (await control.client.get("/v1/jobs", headers=admin)).json()["data"] == []
