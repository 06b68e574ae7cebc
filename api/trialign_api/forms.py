"""A form with a file (RFC 7578), read as it arrives: the file goes on piece by piece, whatever its length.

Starlette's own reader would write the file to the system's temporary folder first.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import Request

from trialign_api.problems import ApiError
from trialign_api.schemas import InvalidField

T = TypeVar("T")
Receive = Callable[[str, AsyncIterator[bytes]], Awaitable[T]]
"""Takes the file: its name as the client gave it, and its bytes."""
_FIELD_BYTES = 4096
_MOST_FIELDS = 16


@dataclass(frozen=True, slots=True)
class Form(Generic[T]):
    """A form that has arrived."""

    fields: dict[str, str]
    file: T


async def read_form(request: Request, file_field: str, receive: Receive[T]) -> Form[T]:
    """Read the form of `request`; `receive` gets the file in `file_field`, before or after the other fields.

    Raises ApiError 400 and 415 for what is no such form, and whatever `receive` raises.
    """
    fields: dict[str, str] = {}
    received: list[T] = []
    pieces = _pieces(request)
    async for piece in pieces:
        name, filename = _named(piece.headers)
        if name in fields or (name == file_field and received) or len(fields) >= _MOST_FIELDS:
            raise _bad(name, "is given more than once, or in a form of too many fields")
        if name == file_field:
            received.append(await receive(filename, _data(pieces)))
        else:
            fields[name] = await _text(name, pieces)
    if not received:
        raise _bad(file_field, "is missing; send a file of that name")
    return Form(fields, received[0])


@dataclass(frozen=True, slots=True)
class _Piece:
    """The beginning of a part, with its headers; bytes of it; or, without either, its end."""

    headers: dict[str, bytes] | None = None
    data: bytes | None = None


@dataclass(slots=True)
class _Parts:
    """What the parser has found and nobody has taken."""

    found: list[_Piece] = field(default_factory=list)
    whole: bool = False
    _headers: dict[str, bytes] = field(default_factory=dict)
    _name: bytearray = field(default_factory=bytearray)
    _value: bytearray = field(default_factory=bytearray)

    def parser(self, boundary: bytes) -> MultipartParser:
        """A parser that calls this."""
        return MultipartParser(
            boundary,
            {
                "on_part_begin": self._headers.clear,
                "on_header_field": lambda data, start, end: self._name.extend(data[start:end]),
                "on_header_value": lambda data, start, end: self._value.extend(data[start:end]),
                "on_header_end": self._end_header,
                "on_headers_finished": lambda: self.found.append(_Piece(headers=dict(self._headers))),
                "on_part_data": lambda data, start, end: self.found.append(_Piece(data=data[start:end])),
                "on_part_end": lambda: self.found.append(_Piece()),
                "on_end": self._end,
            },
        )

    def _end_header(self) -> None:
        self._headers[self._name.decode("latin-1").lower()] = bytes(self._value)
        self._name.clear()
        self._value.clear()

    def _end(self) -> None:
        self.whole = True


async def _pieces(request: Request) -> AsyncIterator[_Piece]:
    kind, options = parse_options_header(request.headers.get("content-type", ""))
    if kind != b"multipart/form-data" or not options.get(b"boundary"):
        raise ApiError(415, "bad_media_type", "Send a form (multipart/form-data) that has the file in it.")
    parts = _Parts()
    try:
        parser = parts.parser(options[b"boundary"])
        async for chunk in request.stream():
            parser.write(chunk)
            for piece in parts.found:
                yield piece
            parts.found.clear()
    except FormParserError as error:
        raise ApiError(400, "bad_request", f"The body is no form: {error}.") from None
    if not parts.whole:
        raise ApiError(400, "bad_request", "The form breaks off before its last boundary.")


def _named(headers: dict[str, bytes] | None) -> tuple[str, str]:
    """Name of the field and of its file, empty where there is none."""
    _, options = parse_options_header((headers or {}).get("content-disposition", b""))
    try:
        return options[b"name"].decode(), options.get(b"filename", b"").decode()
    except (KeyError, UnicodeDecodeError):
        raise ApiError(400, "bad_request", "A part of the form has no name that is UTF-8.") from None


async def _data(pieces: AsyncIterator[_Piece]) -> AsyncIterator[bytes]:
    """Bytes up to the end of the part."""
    async for piece in pieces:
        if piece.data is None:
            return
        yield piece.data


async def _text(name: str, pieces: AsyncIterator[_Piece]) -> str:
    held = bytearray()
    async for data in _data(pieces):
        held += data
        if len(held) > _FIELD_BYTES:
            raise _bad(name, f"is longer than {_FIELD_BYTES} bytes")
    try:
        return held.decode()
    except UnicodeDecodeError:
        raise _bad(name, "is not UTF-8") from None


def _bad(name: str, reason: str) -> ApiError:
    fault = InvalidField(pointer=f"/body/{name}", code="bad_request", detail=reason)
    return ApiError(422, "bad_request", f"field '{name}' {reason}.", [fault])
