"""The recording: one JSON object per request, without credentials."""

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus, unquote, urlsplit

import msgspec

from sandbox.vendor import Request

MASK = "***"
SECRET = re.compile(r"authorization|cookie|api[-_]?key|access[-_]?key|token|secret|signature", re.IGNORECASE)
SCHEMES = ("basic", "bearer")
# Credentials in a body. In JSON only these: people may have fields that are called `token`.
FIELDS = frozenset({
    "access_token", "api_key", "app_secret", "appsecret_proof", "assertion", "auth_token", "client_assertion",
    "client_secret", "password", "private_key", "refresh_token",
})  # fmt: skip
SHORTEST = 4  # characters of a secret that is looked for: less would hide the rest


class Recording:
    """A file that only its owner can read: it holds what was said about people."""

    def __init__(self, path: Path, secrets: Iterable[str] = ()) -> None:
        """`secrets` are shown nowhere, neither as they are nor quoted."""
        spelled = {each for secret in secrets for each in _spellings(secret) if len(each) >= SHORTEST}
        longest_first = sorted(spelled, key=len, reverse=True)
        self._secrets = re.compile("|".join(map(re.escape, longest_first))) if spelled else None
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
        self._file.write(msgspec.json.encode(self._masked(line)) + b"\n")

    def _masked(self, value: Any) -> Any:
        """A value without the secrets."""
        if self._secrets is None:
            return value
        match value:
            case str():
                return self._secrets.sub(MASK, value)
            case dict():
                return {self._masked(key): self._masked(each) for key, each in value.items()}
            case list():
                return [self._masked(each) for each in value]
            case _:
                return value

    def close(self) -> None:
        self._file.close()


def _spellings(secret: str) -> Iterator[str]:
    """As it may travel. A URL that is secret: its user, and what stands behind the host."""
    yield from (secret, quote(secret), quote(secret, safe=""), quote_plus(secret))
    if re.match("https?://", secret):
        parts = urlsplit(secret)
        yield from _spellings(parts.netloc.rpartition("@")[0])
        yield from _spellings(parts.path)
        yield from _spellings(parts.query)


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
    """`name=value&…` without its credentials."""
    pairs = (pair.partition("=") for pair in text.split("&"))
    return "&".join(name + mark + (MASK if _is_credential(unquote(name)) else value) for name, mark, value in pairs)


def _is_credential(name: str) -> bool:
    return name in FIELDS or bool(SECRET.search(name))


def _masked_body(request: Request) -> Any:
    """The body as JSON where it is, else as text; only fields of the top level are credentials."""
    if isinstance(request.json, dict):
        return {key: MASK if key in FIELDS else value for key, value in request.json.items()}
    if request.json is not None:
        return request.json
    text = request.body.decode("utf-8", "replace")
    return _masked_form(text) if "x-www-form-urlencoded" in request.headers.get("content-type", "") else text
