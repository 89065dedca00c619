"""Words: why a request came to nothing, for the reader of a report: without URLs, for people may be in them."""

import re

import aiohttp

from schemas.secret import secrets_in
from transforms.assignment import SenderOptions
from transforms.destinations.contract import Destination, Reply, Request
from transforms.wire import Endless

_URL_PARTS = re.compile(r"[/?&=]")
_MASKED = 8  # characters: shorter parts of a credential are words


class Mask:
    """Takes secrets out of a vendor's words: those of the settings, and what was made of them."""

    def __init__(self, destination: Destination) -> None:
        self._destination = destination
        self.last: Request | None = None  # its signature is a secret too

    def __call__(self, words: str) -> str:
        if not words:
            return words
        known = [secret.reveal() for secret in secrets_in(self._destination.settings)]
        known += [part for secret in known for part in _URL_PARTS.split(secret) if len(part) >= _MASKED]
        signed = self._destination.signed(self.last).values() if self.last else ()
        made = [part for value in signed for part in value.split() if len(part) >= _MASKED]
        for secret in (*known, *made):
            edge = "" if len(secret) >= _MASKED else r"\b"  # a short one may be a part of any word
            words = re.sub(f"{edge}{re.escape(secret)}{edge}", "***", words)
        return words


def cause(error: Exception, host: str, options: SenderOptions) -> str:
    """Why there was no answer."""
    match error:
        case aiohttp.ClientConnectorDNSError():
            return f"{host} cannot be found"
        case aiohttp.ClientConnectorError() if isinstance(error.os_error, ConnectionRefusedError):
            return f"connection refused by {host}"
        case aiohttp.ConnectionTimeoutError():
            return f"no connection to {host} within {options.connect_timeout:g} s"
        case Endless():
            return f"{host} {error}"
        case aiohttp.ClientConnectorError():
            return f"no connection to {host}: {error.os_error.strerror or type(error.os_error).__name__}"
        case _:
            return f"{host} broke off the connection"


def refusal(destination: Destination, reply: Reply, what: str, words: str) -> str:
    """That the vendor wants nothing of this connection, and what to look at; `words`: its own, masked."""
    variables = ", ".join(str(secret) for secret in secrets_in(destination.settings))
    advice = f"; check {variables} and what it may do" if variables else ""
    said = f": {words}" if words else ""
    return f"the vendor {what} (HTTP {reply.status}){advice}{said}"


def lasting(seconds: float) -> str:
    """A length of time, in its own unit."""
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"
