"""Who may ask a service's pages: what is refused, and in which words.

On this machine only, a request needs no token; but the page of another site, open in the operator's browser, must
not reach the service under a name of its own. Where others can connect, each request brings the token.
"""

import hmac
from base64 import b64decode
from binascii import Error
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from urllib.parse import urlsplit

OPEN = ("/healthz",)  # whoever restarts the service asks it, and it says nothing else
_ASK = {"WWW-Authenticate": 'Basic realm="profilecast", charset="UTF-8"'}


@dataclass(frozen=True)
class Refusal:
    """Why a request is not answered."""

    status: int
    words: str
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Guard:
    """`local`: only this machine can connect. `token`: what each request has to bring; "" for none."""

    local: bool = True
    token: str = ""

    def refusal(self, method: str, path: str, headers: Mapping[str, str]) -> Refusal | None:
        """None: it may be answered. The names of headers are in lower case."""
        if path in OPEN:
            return None
        if self.local and not is_local(_host(headers.get("host", ""))):
            return Refusal(403, "the service answers on this machine only, as 127.0.0.1 or localhost")
        if self.token and not self._brought(headers.get("authorization", "")):
            words = "it needs the token: as the password, under any name, or as `Authorization: Bearer TOKEN`"
            return Refusal(401, words, _ASK)
        if method != "GET" and _from_elsewhere(headers):
            return Refusal(403, "another site's page sent this: use the page of the service itself")
        return None

    def _brought(self, authorization: str) -> bool:
        kind, _, given = authorization.partition(" ")
        if kind.lower() == "basic":
            try:
                given = b64decode(given, validate=True).decode().partition(":")[2]
            except (Error, ValueError):
                return False
        elif kind.lower() != "bearer":
            return False
        return hmac.compare_digest(given.strip().encode(), self.token.encode())


def is_local(host: str) -> bool:
    """Whether a name or address is always this machine."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _from_elsewhere(headers: Mapping[str, str]) -> bool:
    """What browsers say of the page that a request comes from. Other tools say nothing."""
    if headers.get("sec-fetch-site", "same-origin") != "same-origin":
        return True
    origin = headers.get("origin")
    return origin is not None and origin.partition("://")[2].lower() != headers.get("host", "").lower()


def _host(header: str) -> str:
    try:
        return urlsplit(f"//{header}").hostname or ""
    except ValueError:
        return ""
