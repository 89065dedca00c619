"""The recording: one JSON object per request, without credentials."""

import os
import re
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import msgspec

from sandbox.vendor import Request

MASK = "***"
SECRET = re.compile(r"authorization|cookie|api[-_]?key|access[-_]?key|token|secret|signature", re.IGNORECASE)
SCHEMES = ("basic", "bearer")
SECRETS = ("access_token", "appsecret_proof", "client_secret")  # fields of a JSON body


class Recording:
    """A file that only its owner can read: it holds what was said about people."""

    def __init__(self, path: Path) -> None:
        # Unbuffered: who looks at the file while it is written sees each request when it was answered.
        self._file = os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb", buffering=0)

    def add(self, request: Request, connection: str, destination: str, status: int) -> None:
        """`status` is what was answered, 0 for no answer."""
        line = {
            "at": request.at,
            "connection": connection,
            "destination": destination,
            "method": request.method,
            "url": f"https://{request.host}{_masked_target(request.target)}",
            "headers": {name: _masked_header(name, value) for name, value in request.headers.items()},
            "body": _masked_body(request),
            "status": status,
        }
        self._file.write(msgspec.json.encode(line) + b"\n")

    def close(self) -> None:
        self._file.close()


def _masked_header(name: str, value: str) -> str:
    """A header without its credential. The scheme stays, for it is part of what is right or wrong."""
    if not SECRET.search(name):
        return value
    scheme = value.split(" ", 1)[0]
    return f"{scheme} {MASK}" if scheme.lower() in SCHEMES and " " in value else MASK


def _masked_target(target: str) -> str:
    path, mark, query = target.partition("?")
    return path + mark + _masked_form(query)


def _masked_form(text: str) -> str:
    pairs = (pair.partition("=") for pair in text.split("&"))
    return "&".join(
        name + mark + (quote(MASK, safe="*") if SECRET.search(unquote(name)) else v) for name, mark, v in pairs
    )


def _masked_body(request: Request) -> Any:
    """The body as JSON where it is, else as text; of the top level only credentials are named so."""
    if isinstance(request.json, dict):
        return {key: MASK if key in SECRETS else v for key, v in request.json.items()}
    if request.json is not None:
        return request.json
    text = request.body.decode("utf-8", "replace")
    return _masked_form(text) if "x-www-form-urlencoded" in request.headers.get("content-type", "") else text
