"""What the fakes of Amazon Web Services have in common: signatures, errors, and messages that they keep.

Signature version 4 as "AWS Signature Version 4 for API requests" of the IAM User Guide describes it, made here with no
part of Amazon's own: whoever signs by botocore is compared with another hand.
"""

import hmac
import re
from base64 import b64decode
from binascii import Error
from calendar import timegm
from hashlib import sha256
from time import strptime
from typing import Any, ClassVar
from urllib.parse import parse_qsl, quote

import msgspec

from sandbox.vendor import Answer, Cap, Request, Vendor

_AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 "
    r"Credential=(?P<key>\w+)/(?P<date>\d{8})/(?P<region>[a-z0-9-]+)/(?P<service>[a-z0-9-]+)/aws4_request, ?"
    r"SignedHeaders=(?P<signed>[a-z0-9;-]+), ?Signature=(?P<signature>[0-9a-f]{64})"
)
_EARLY_OR_LATE = 300.0  # seconds that a signature may be off


class AwsVendor(Vendor):
    """One account at one service of one region."""

    service: ClassVar[str]
    max_bytes = 20_000_000

    @classmethod
    def credential(cls, request: Request) -> str | None:
        """The access key ID of a request whose signature is of this service, and covers what it must."""
        found = _AUTHORIZATION.fullmatch(request.headers.get("authorization", ""))
        stamp = request.headers.get("x-amz-date", "")
        if not found or not re.fullmatch(rf"{found['date']}T\d{{6}}Z", stamp) or found["service"] != cls.service:
            return None
        covered = set(found["signed"].split(";"))
        needed = {"host"} | {name for name in request.headers if name.startswith("x-amz-")}
        here = found["region"] in request.host.split(".")
        return found["key"] if needed <= covered and here else None

    @classmethod
    def authorized(cls, request: Request, known: set[str]) -> bool:
        """`known`: secret access keys. One of them makes the same signature, not long ago."""
        if cls.credential(request) is None or not known:
            return cls.credential(request) is not None
        signed = timegm(strptime(request.headers["x-amz-date"], "%Y%m%dT%H%M%SZ"))
        given = request.headers["authorization"].rpartition("=")[2]
        fresh = abs(request.at - signed) <= _EARLY_OR_LATE
        return fresh and any(hmac.compare_digest(given, signature(request, secret)) for secret in known)

    @classmethod
    def secret(cls, request: Request, settings: Any) -> str | None:
        found: str = settings.secret_access_key.reveal()
        return found

    def error(self, status: int, name: str, words: str = "") -> Answer:
        return Answer(status, {"__type": name, "message": words or name})

    def unauthorized(self) -> Answer:
        return self.error(400, "UnrecognizedClientException", "The security token included in the request is invalid.")

    def throttled(self, cap: Cap, wait: float, at: float) -> Answer:
        return self.error(400, "ThrottlingException", "Rate exceeded")

    def failed(self, status: int) -> Answer:
        return self.error(status, "InternalFailure")

    def unknown(self, request: Request) -> Answer:
        return self.error(400, "UnknownOperationException")

    def keep(self, message: Any, at: float, **more: Any) -> None:
        """Keep one message, by whom it is about."""
        keep_message(self, message, at, **more)


def keep_message(vendor: Vendor, message: Any, at: float, **more: Any) -> None:
    """Keep one neutral message as an event, found by its identifiers; `more` is said with it."""
    told = message if isinstance(message, dict) else {}
    name = str(told.get("event") or told.get("type"))
    vendor.events.add(at, name, identifiers(told), {**told, **more} if more else told)


def identifiers(message: dict[str, Any]) -> dict[str, str]:
    """Those of a neutral message that people are asked for by."""
    kinds = ("userId", "anonymousId", "traits.email", "context.traits.email")
    return {kind: found for kind in kinds if isinstance(found := _at(message, kind), str) and found}


def _at(value: Any, path: str) -> Any:
    for name in path.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    return value


def message_in(data: Any) -> Any:
    """The JSON in a base64 text; None where there is none."""
    try:
        return msgspec.json.decode(b64decode(data, validate=True))
    except (Error, TypeError, ValueError, msgspec.DecodeError):
        return None


# -- signature version 4


def signature(request: Request, secret: str) -> str:
    """The signature that this secret access key makes for a request."""
    found = _AUTHORIZATION.fullmatch(request.headers["authorization"])
    assert found
    scope = f"{found['date']}/{found['region']}/{found['service']}/aws4_request"
    asked = sha256(_canonical(request, found["signed"].split(";"), found["service"]).encode()).hexdigest()
    text = f"AWS4-HMAC-SHA256\n{request.headers['x-amz-date']}\n{scope}\n{asked}"
    key = f"AWS4{secret}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    return hmac.digest(key, text.encode(), "sha256").hex()


def _canonical(request: Request, signed: list[str], service: str) -> str:
    """The request in the form that is signed: S3 takes the path as it was sent, the others quote it once more."""
    path = request.path if service == "s3" else quote(request.path, safe="/-_.~")
    pairs = sorted((_quoted(name), _quoted(value)) for name, value in parse_qsl(request.target.partition("?")[2], True))
    query = "&".join(f"{name}={value}" for name, value in pairs)
    headers = {**request.headers, "host": request.host}
    lines = "".join(f"{name}:{' '.join(headers.get(name, '').split())}\n" for name in signed)
    return "\n".join((request.method, path, query, lines, ";".join(signed), sha256(request.body).hexdigest()))


def _quoted(text: str) -> str:
    return quote(text, safe="-_.~")
