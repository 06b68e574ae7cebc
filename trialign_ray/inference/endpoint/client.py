"""Asks a server many requests at once, each answer once.

When asking has to stop, for Ctrl-C or because a request has failed for good, no request begins any more, and those that
are under way are waited for: the server has them already, so their answers are kept.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections import deque
from collections.abc import Callable, Coroutine, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import httpx

from trialign_ray.config.endpoint import KEY_ENV, PATH, EndpointSpec
from trialign_ray.data.chat_replies import ChatReply, read_reply
from trialign_ray.errors import EndpointError, MissingAnswersError, SpecError, TrialignError
from trialign_ray.inference.endpoint.attempt import Transient, attempt
from trialign_ray.inference.endpoint.cache import AnswerCache
from trialign_ray.inference.endpoint.pace import Pace
from trialign_ray.inference.endpoint.request import ChatRequest
from trialign_ray.progress import Progress

_LONGEST_WAIT = 600.0
"""Seconds; a server that asks for more is come back to by a later run."""
_FIRST_WAIT, _LONGEST_BACKOFF = 0.5, 60.0
_MOST_NOTES = 10
"""Different reasons that are told; a server may put a number of its own into each."""


class Endpoint:
    """A server, and the answers that it gave before."""

    def __init__(self, spec: EndpointSpec) -> None:
        """Raises SpecError where the variable that is to hold the key is not set."""
        self.spec = spec
        self.url = spec.url + PATH
        self.cache = AnswerCache(spec.cache)
        self._headers = {} if spec.replay else _headers(spec)

    def ask(self, requests: Sequence[ChatRequest], progress: Progress) -> list[ChatReply]:
        """The replies in order; equal requests are one. Progress counts different ones.

        Raises EndpointError, after what was answered is kept, and MissingAnswersError where a replay lacks answers.
        """
        replies: dict[str, ChatReply] = {}
        missing: dict[str, ChatRequest] = {}
        for request in {request.key: request for request in requests}.values():
            kept = self.cache.get(request)
            if kept is None:
                missing[request.key] = request
            else:
                replies[request.key] = read_reply(kept)
        progress.advance(len(replies))
        if missing and self.spec.replay:
            raise MissingAnswersError(_lacking(len(missing), len(missing) + len(replies), self.cache.uri, missing))
        if missing:
            asking = _Asking(self, list(missing.values()), progress)
            _run(asking.run())
            replies |= asking.replies
        return [replies[request.key] for request in requests]

    def client(self) -> httpx.AsyncClient:
        """A client of the server; it follows no redirect."""
        limits = httpx.Limits(max_connections=self.spec.concurrency, max_keepalive_connections=self.spec.concurrency)
        return httpx.AsyncClient(
            headers=self._headers, timeout=self.spec.timeout_seconds, limits=limits, follow_redirects=False
        )


class _Asking:
    """One round of requests."""

    def __init__(self, endpoint: Endpoint, requests: Sequence[ChatRequest], progress: Progress) -> None:
        self.replies: dict[str, ChatReply] = {}
        self._endpoint, self._progress = endpoint, progress
        self._queue, self._total = deque(requests), len(requests)
        self._failure: TrialignError | None = None
        self._under_way = 0
        self._stop = asyncio.Event()
        self._pace = Pace(endpoint.spec.requests_per_minute, self._wait)
        self._noted: set[str] = set()

    async def run(self) -> None:
        """Ask all; raises the failure, or KeyboardInterrupt."""
        async with self._endpoint.client() as http:
            workers = min(self._endpoint.spec.concurrency, self._total)
            tasks = [asyncio.create_task(self._work(http)) for _ in range(workers)]
            with _interrupts(lambda: self._interrupt(tasks)) as interrupted:
                outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        answered = f"{len(self.replies)} of {self._total} requests were answered and are kept"
        if interrupted:
            self._progress.note(f"{answered}; the same command asks for the others only.")
            raise KeyboardInterrupt
        if self._failure is not None:
            raise type(self._failure)(f"{self._failure}\n{answered}; the same command asks for the others only.")
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome

    async def _work(self, http: httpx.AsyncClient) -> None:
        while self._queue and not self._stop.is_set():
            request = self._queue.popleft()
            try:
                await self._answer(http, request)
            except TrialignError as error:
                self._failure = self._failure or _of(request, self._endpoint.url, error)
                self._stop.set()
            except BaseException:
                self._stop.set()
                raise

    async def _answer(self, http: httpx.AsyncClient, request: ChatRequest) -> None:
        """Get one reply and keep it, unless asking has to stop before it is asked for."""
        tried, most = 0, self._endpoint.spec.attempts
        while await self._pace.turn(self._stop.is_set):
            tried += 1
            try:
                body = await self._attempt(http, request)
            except Transient as error:
                if tried == most:
                    said = f"failed {most} times, last with: {error}. Try later, or allow more attempts."
                    raise EndpointError(said) from None
                await self._before_next(error, tried, request)
                continue
            await asyncio.to_thread(self._endpoint.cache.put, request, body)
            self.replies[request.key] = read_reply(body)
            self._progress.advance(1)
            return

    async def _attempt(self, http: httpx.AsyncClient, request: ChatRequest) -> Any:
        spec = self._endpoint.spec
        self._under_way += 1
        try:
            return await attempt(http, request, spec.timeout_seconds, spec.reply_bytes)
        finally:
            self._under_way -= 1

    async def _before_next(self, why: Transient, tried: int, request: ChatRequest) -> None:
        """Wait as long as the server asks, and longer each time."""
        # The request's own hash spreads requests that failed together.
        share = 0.5 + int(request.key[:8], 16) / 2**33
        seconds = max(why.retry_after or 0.0, share * min(_LONGEST_BACKOFF, _FIRST_WAIT * 2 ** (tried - 1)))
        if seconds > _LONGEST_WAIT:
            raise EndpointError(f"asks to wait for {seconds:.0f} s ({why}). Start again after that.")
        if str(why) not in self._noted and len(self._noted) < _MOST_NOTES:
            self._noted.add(str(why))
            self._progress.note(f"{self._endpoint.url}: {why}; trying again after {seconds:.1f} s")
        if why.busy:
            self._pace.pause(seconds)
        else:
            await self._wait(seconds)

    async def _wait(self, seconds: float) -> None:
        """Sleep, but not beyond the moment when asking has to stop."""
        try:
            async with asyncio.timeout(seconds):
                await self._stop.wait()
        except TimeoutError:
            pass

    def _interrupt(self, tasks: Sequence[asyncio.Task[None]]) -> None:
        if self._stop.is_set():
            for task in tasks:
                task.cancel()
            return
        self._stop.set()
        if self._under_way:
            self._progress.note(f"Stopping when the requests under way are answered ({self._under_way}); Ctrl-C again "
                                "gives them up.")  # fmt: skip


@contextmanager
def _interrupts(act: Callable[[], None]) -> Iterator[list[int]]:
    """Call `act` at each Ctrl-C instead of raising, and fill the list that is given. Only a main thread has signals."""
    seen: list[int] = []

    def handle() -> None:
        seen.append(signal.SIGINT)
        act()

    loop = asyncio.get_running_loop()
    try:
        loop.add_signal_handler(signal.SIGINT, handle)
    except (ValueError, RuntimeError, NotImplementedError):
        yield seen
        return
    try:
        yield seen
    finally:
        loop.remove_signal_handler(signal.SIGINT)


def _run(work: Coroutine[Any, Any, None]) -> None:
    """Run `work` to its end; in a thread of its own where this one runs a loop already, as a notebook's does."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        asyncio.run(work)
        return
    with ThreadPoolExecutor(1) as pool:
        pool.submit(asyncio.run, work).result()


def _headers(spec: EndpointSpec) -> dict[str, str]:
    key = os.environ.get(spec.key_env, "").strip()
    if not key and spec.key_env != KEY_ENV:
        raise SpecError(f"environment variable {spec.key_env}, which is to hold the API key, is not set. Set it.")
    if not (key.isascii() and key.isprintable()):
        raise SpecError(f"environment variable {spec.key_env}: holds characters that no API key has. Set it again.")
    headers = {"Accept-Encoding": "identity"}
    return {**headers, "Authorization": f"Bearer {key}"} if key else headers


def _of(request: ChatRequest, url: str, error: TrialignError) -> TrialignError:
    return type(error)(f"{url}: {request.label}: {error}")


def _lacking(missing: int, total: int, folder: str, requests: dict[str, ChatRequest]) -> str:
    first = next(iter(requests.values())).label
    return (
        f"{folder}: {missing} of {total} answers are missing, the first to {first}. Ask for them without --replay, or "
        "name the folder that holds them (--cache)."
    )
