"""Words: why a request came to nothing, for the reader of a report: without URLs, for people may be in them."""

import base64
import re
import ssl
import traceback
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import lru_cache
from json import dumps
from pathlib import Path
from urllib.parse import quote, quote_plus, unquote

import aiohttp

from schemas.outcomes import Rejected
from schemas.secret import MissingSecret, secrets_in
from transforms.destinations.contract import Destination, Reply, Request
from transforms.sending.delivery import SenderOptions
from transforms.sending.signing import Signing
from transforms.sending.wire import Endless

_URL_PARTS = re.compile(r"[/?&=:@]")
_MASKED = 8  # characters: shorter parts of a credential are words
_REFUSES = {"credentials": "refuses the credentials", "renewal": "does not renew the credentials"}
_OURS = Path(__file__).parents[2]


class Mask:
    """Takes secrets out of a vendor's words: those of the settings, and what was made of them, in any spelling."""

    def __init__(self, signing: Signing) -> None:
        self._signing = signing
        self.last: Request | None = None  # its signature is a secret too

    def __call__(self, words: str) -> str:
        if not words:
            return words
        for secret in sorted(self._secrets(), key=len, reverse=True):
            edge = "" if len(secret) >= _MASKED else r"\b"  # a short one may be a part of any word
            words = re.sub(f"{edge}{re.escape(secret)}{edge}", "***", words, flags=re.IGNORECASE)
        return words

    def _secrets(self) -> set[str]:
        try:
            known, signed = list(self._signing.secrets()), list(self._signing.signatures(self.last))
        except Exception:  # there is none, or none that can be signed with
            known, signed = [], []
        found: set[str] = set()
        for secret in known:
            found |= _spellings(secret)
            for part in _parts(secret):
                found |= _spellings(part)
        for value in signed:
            for part in value.split():
                if len(part) >= _MASKED:
                    found |= _spellings(part)
        return found


def _parts(secret: str) -> Iterator[str]:
    """The parts of a secret URL that are secrets themselves."""
    for part in _URL_PARTS.split(secret):
        if len(part) >= _MASKED and part != secret:
            yield part


@lru_cache(256)
def _spellings(secret: str) -> set[str]:
    """How a text may have been written down by the vendor, or by whoever made the secret."""
    plain = {secret, unquote(secret)} | _decoded(secret)
    found = set(plain)
    for text in plain:
        escaped = dumps(text)[1:-1]
        found |= {quote(text), quote(text, safe=""), quote_plus(text), escaped, escaped.replace("/", "\\/")}
        found |= {dumps(text, ensure_ascii=False)[1:-1]} | _encoded(text)
    return {text for text in found if len(text) >= min(_MASKED, len(secret))}


def _encoded(text: str) -> set[str]:
    """A text in base64, by itself or within something longer: it begins at one of three places."""
    found, raw = set(), text.encode()
    for place in range(3):
        inner = base64.b64encode(bytes(place) + raw).decode()
        first = (0, 2, 3)[place]  # letters that hold bits of what is ahead of it
        last = len(inner) - (0, 3, 2)[(place + len(raw)) % 3]  # and of what is behind it
        core = inner[first:last]
        if len(core) >= _MASKED:
            found |= {core, core.replace("+", "-").replace("/", "_")}
    return found


def _decoded(text: str) -> set[str]:
    """What a secret in base64 stands for."""
    if len(text) < _MASKED:
        return set()
    try:
        plain = base64.b64decode(text.replace("-", "+").replace("_", "/") + "=" * (-len(text) % 4), validate=True)
        found = plain.decode()
    except ValueError:
        return set()
    return {found} if len(found) >= _MASKED and found.isprintable() else set()


def cause(error: Exception, host: str, options: SenderOptions) -> str:
    """Why there was no answer."""
    match error:
        case aiohttp.ClientConnectorDNSError():
            return f"{host} cannot be found"
        case aiohttp.ClientProxyConnectionError():
            return f"the proxy of the environment cannot be reached: {error.os_error.strerror or 'no connection'}"
        case aiohttp.ClientHttpProxyError():
            return f"the proxy of the environment lets nothing through to {host} (HTTP {error.status})"
        case aiohttp.ClientConnectorError() if isinstance(error.os_error, ConnectionRefusedError):
            return f"connection refused by {host}"
        case aiohttp.ConnectionTimeoutError():
            return f"no connection to {host} within {options.connect_timeout:g} s"
        case Endless():
            return f"{host} {error}"
        case aiohttp.ClientConnectorError():
            return f"no connection to {host}: {error.os_error.strerror or type(error.os_error).__name__}"
        case aiohttp.ClientResponseError():
            return f"the answer of {host} cannot be read: its head is longer than any vendor's, or is no HTTP"
        case aiohttp.ClientPayloadError():
            return f"the answer of {host} ended before it was whole"
        case _:
            return f"{host} broke off the connection"


def refusal(destination: Destination, reply: Reply, meaning: str, words: str) -> str:
    """Why a connection stops that the vendor refuses, and what to check.

    `meaning`: the destination's, of this reply; `renewal` where signing in was refused. `words`: the vendor's, masked.
    """
    what = _REFUSES.get(meaning, "does not allow this")
    variables = ", ".join(str(secret) for secret in secrets_in(destination.settings))
    advice = f"; check {variables} and what it may do" if variables else ""
    said = f": {words}" if words else ""
    return f"the vendor {what} (HTTP {reply.status}){advice}{said}"


def fault(error: BaseException) -> Rejected:
    """The rejection of a call for which a destination's module fails."""
    return Rejected("fault", place(error))


def module_fails(where: str) -> str:
    """Why a connection stops whose destination's module fails. `where`: see `place`."""
    return f"a fault in its destination's module: {where}; its calls wait"


def place(error: BaseException) -> str:
    """Kind and place of an error, and nothing of what it is about."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if Path(frame.filename).is_relative_to(_OURS / "transforms" / "destinations")]
    if not (found := (own or frames)[-1:]):
        return type(error).__name__
    frame = found[0]
    return f"{type(error).__name__} at {Path(frame.filename).name}:{frame.lineno}, in {frame.name}"


def unusable(error: Exception) -> str:
    """Why a connection stops whose log cannot be read or written."""
    words = error.strerror if isinstance(error, OSError) else ""
    return f"its log cannot be used: {words or str(error) or type(error).__name__}"


def stopped_by(error: BaseException) -> str:
    """Why a connection ends, for an error that is none of the vendor's."""
    match error:
        case MissingSecret():
            return str(error)
        case OSError():
            return unusable(error)
        case _:
            return module_fails(place(error))


def lasting(seconds: float) -> str:
    """A length of time, in its own unit."""
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"


def moment(at: float) -> str:
    """A time since 1970, for people and programs."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


TRUST = (aiohttp.ClientConnectorCertificateError, ssl.SSLCertVerificationError)
