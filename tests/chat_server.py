"""A server of chat completions that does what a test wants, and counts what it is asked."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Reply:
    """What the server sends. `length` is a false content length; `hang` sends nothing until the server is closed."""

    body: bytes
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    length: int | None = None
    hang: bool = False


def said(text: str | None, finish: str = "stop", **choice: Any) -> Reply:
    """A chat completion."""
    first = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finish, **choice}
    return Reply(json.dumps({"object": "chat.completion", "model": "served", "choices": [first]}).encode())


def failed(status: int, message: str = "broken", code: str = "", **headers: str) -> Reply:
    """An error in OpenAI's form."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply(json.dumps({"error": {"message": message, "code": code}}).encode(), status, named)


HANGS = Reply(b"", hang=True)


class ChatServer:
    """Answers request number n, from 0, with `answer(body, n)`."""

    def __init__(self, answer: Callable[[Mapping[str, Any], int], Reply]) -> None:
        self.answer = answer
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.most_at_once = 0
        self._at_once = 0
        self._lock, self._closing = threading.Lock(), threading.Event()
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._http.daemon_threads = True

    @property
    def origin(self) -> str:
        return f"127.0.0.1:{self._http.server_address[1]}"

    @property
    def url(self) -> str:
        return f"http://{self.origin}/v1"

    @property
    def requests(self) -> int:
        return len(self.bodies)

    def __enter__(self) -> ChatServer:
        threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        self._http.shutdown()
        self._http.server_close()

    @contextmanager
    def _counted(self, body: dict[str, Any], headers: Mapping[str, str]) -> Iterator[int]:
        with self._lock:
            number = len(self.bodies)
            self.bodies.append(body)
            self.headers.append({name.lower(): value for name, value in headers.items()})
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            yield number
        finally:
            with self._lock:
                self._at_once -= 1

    def _handler(server) -> type[BaseHTTPRequestHandler]:  # noqa: N805
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with server._counted({"path": self.path, **body}, dict(self.headers)) as number:
                    reply = server.answer(body, number)
                    if reply.hang:
                        server._closing.wait(60)
                        self.close_connection = True
                        return
                self.send_response(reply.status)
                for name, value in reply.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(reply.body) if reply.length is None else reply.length))
                self.end_headers()
                with suppress(OSError):  # the client may have read enough
                    self.wfile.write(reply.body)
                self.close_connection = reply.length is not None

            def log_message(self, *_: object) -> None:
                pass

        return Handler
