"""Log lines as `name=value`, which people read and log collectors parse."""

from __future__ import annotations

import json
import logging
import re
import time

_PLAIN = re.compile(r"[^\s\"=\\]+")


class Logfmt(logging.Formatter):
    """`time=... level=... logger=... message="..."`, and a traceback, where there is one, as `error`.

    A value with spaces, quotes or control characters is quoted as in JSON: a caller's text cannot make up a line.
    """

    converter = staticmethod(time.gmtime)

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        moment = self.formatTime(record, "%Y-%m-%dT%H:%M:%S")
        found = {
            "time": f"{moment}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            found["error"] = self.formatException(record.exc_info)
        return " ".join(f"{name}={_value(value)}" for name, value in found.items())


def _value(text: str) -> str:
    return text if _PLAIN.fullmatch(text) and text.isprintable() else json.dumps(text)
