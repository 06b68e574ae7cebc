"""A real server lets go of those who send nothing, and of those who hold too much; others are served meanwhile."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.unit.api.fake import TINY, FakeBackend, Plane, plane, settings_for
from trialign_api import connections, limits
from trialign_api.logfmt import Logfmt
from trialign_api.server import server
from trialign_api.settings import Settings

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def served(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[str, int]]:
    """The application behind a real server, without a cluster."""
    app = plane_app(settings)
    monkeypatch.setattr("trialign_api.server.create_app", lambda _: app)
    running = server(settings)
    running.config.port = 0
    task = asyncio.create_task(running.serve())
    while not running.started:
        await asyncio.sleep(0.01)
    yield running.servers[0].sockets[0].getsockname()
    running.should_exit = True
    await task


def plane_app(settings: Settings) -> Any:
    from trialign_api.app import create_app

    return create_app(settings, kinds=TINY, backend=FakeBackend(), reconcile=False)


async def closed(reader: asyncio.StreamReader) -> bool:
    """Whether the server ends the connection without an answer."""
    try:
        async with asyncio.timeout(20):
            return await reader.read(1) == b""
    except ConnectionError:
        return True


@pytest.mark.parametrize(
    "parts",
    [[], [b"G"], [b"GET /healthz HTTP/1.1\r\nHost: x\r\n"], [b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", b"G"]],
)
async def test_a_connection_that_sends_no_whole_request_is_let_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, parts: list[bytes]
) -> None:
    monkeypatch.setattr(connections, "HEADER_SECONDS", 0.2)
    async with served(settings_for(tmp_path), monkeypatch) as (host, port):
        reader, writer = await asyncio.open_connection(host, port)
        for part in parts:
            writer.write(part)
            if part.endswith(b"\r\n\r\n"):
                assert b"200 OK" in await reader.readuntil(b'{"status":"ok","checks":{}}')
        assert await closed(reader)
        writer.close()


async def test_half_open_connections_of_one_address_shut_nobody_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "ADDRESS_CONNECTIONS", 5)
    async with served(settings_for(tmp_path), monkeypatch) as (host, port):
        held = [await asyncio.open_connection(host, port) for _ in range(5)]
        extra, _ = await asyncio.open_connection(host, port)
        assert await closed(extra)
        for _, writer in held:
            writer.close()
        async with httpx.AsyncClient(base_url=f"http://{host}:{port}") as client, asyncio.timeout(20):
            while (await client.get("/healthz")).status_code != 200:
                await asyncio.sleep(0.01)
    async with served(settings_for(tmp_path, proxies=("127.0.0.1",)), monkeypatch) as (host, port):
        held = [await asyncio.open_connection(host, port) for _ in range(9)]
        async with httpx.AsyncClient(base_url=f"http://{host}:{port}") as client:
            assert (await client.get("/healthz")).status_code == 200


async def test_a_body_that_stops_arriving_is_answered_408(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "BODY_SECONDS", 0.2)
    settings = settings_for(tmp_path)
    async with served(settings, monkeypatch) as (host, port):
        async with plane(tmp_path) as control:
            key = (await control.key("ada", "submit"))["Authorization"]
        reader, writer = await asyncio.open_connection(host, port)
        head = f"POST /v1/jobs HTTP/1.1\r\nHost: x\r\nAuthorization: {key}\r\nContent-Length: 10\r\n\r\n{{"
        writer.write(head.encode())
        async with asyncio.timeout(20):
            answer = await reader.readuntil(b"\r\n")
        assert b" 408 " in answer
        writer.close()


@pytest.mark.parametrize(("proxies", "seen"), [((), "127.0.0.1"), (("127.0.0.1",), "203.0.113.9")])
async def test_a_forwarded_address_counts_only_from_a_proxy_of_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, proxies: tuple[str, ...], seen: str
) -> None:
    addresses: list[str] = []

    def noted(address: str) -> str:
        addresses.append(address)
        return address

    monkeypatch.setattr("trialign_api.auth.network", noted)
    async with served(settings_for(tmp_path, proxies=proxies), monkeypatch) as (host, port):
        auth = {"Authorization": f"Bearer tk_{0:012x}_{0:064x}", "X-Forwarded-For": "203.0.113.9"}
        async with httpx.AsyncClient(base_url=f"http://{host}:{port}") as client:
            assert (await client.get("/v1/jobs", headers=auth)).status_code == 401
    assert addresses[-1] == seen


async def test_streams_of_one_key_are_limited_and_those_of_another_are_not(tmp_path: Path) -> None:
    async with plane(tmp_path, requests_at_once=2) as control:
        ada, bob = await control.key("ada", "submit"), await control.key("bob", "submit")
        with control.app.state.services.keys.at_once.hold(ada["Authorization"].split("_")[1]):
            assert (await control.client.get("/v1/jobs", headers=ada)).status_code == 200
            with control.app.state.services.keys.at_once.hold(ada["Authorization"].split("_")[1]):
                refused = await control.client.get("/v1/jobs", headers=ada)
                assert (refused.status_code, refused.json()["code"]) == (429, "too_many_at_once")
                assert (await control.client.get("/v1/jobs", headers=bob)).status_code == 200
        assert (await control.client.get("/v1/jobs", headers=ada)).status_code == 200
        assert not control.app.state.services.keys.at_once._held


async def test_a_stream_counts_until_it_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = settings_for(tmp_path, requests_at_once=1)
    async with plane(tmp_path) as control:
        ada = await control.key("ada", "submit")
        job = await control.running(ada)
    async with (
        served(settings, monkeypatch) as (host, port),
        httpx.AsyncClient(base_url=f"http://{host}:{port}", headers=ada) as client,
    ):
        async with client.stream("GET", f"/v1/jobs/{job['id']}/logs/stream") as stream:
            assert stream.status_code == 200
            assert (await client.get("/v1/jobs")).status_code == 429
        async with asyncio.timeout(20):
            while (await client.get("/v1/jobs")).status_code != 200:
                await asyncio.sleep(0.05)


async def test_no_page_loads_scripts_from_elsewhere(control: Plane) -> None:
    for path in ("/docs", "/redoc"):
        answer = await control.client.get(path)
        assert (answer.status_code, "http" in answer.text) == (404, False)


def test_a_log_line_has_time_and_level_and_no_text_of_a_caller_makes_up_another() -> None:
    record = logging.LogRecord("trialign_api", logging.WARNING, "", 0, "it %s", ("said\nlevel=error",), None)
    record.created, record.msecs = 0.0, 7.0
    line = Logfmt().format(record)
    assert line == ('time=1970-01-01T00:00:00.007Z level=warning logger=trialign_api message="it said\\nlevel=error"')
    assert os.linesep not in line
