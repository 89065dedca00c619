"""Amazon S3: PutObject into a bucket that is there; objects of JSON lines, of which one takes the place of another."""

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import Any
from urllib.parse import unquote

import msgspec

from sandbox.aws import AwsVendor
from sandbox.memory import Events
from sandbox.vendor import Answer, Cap, Request

LONGEST_KEY = 1_024  # bytes


@dataclass(frozen=True)
class Xml(Answer):
    """S3 answers in XML."""

    text: str = ""

    def body(self) -> bytes:
        return self.text.encode()


class AmazonS3(AwsVendor):
    slug = "amazon-s3"
    service = "s3"
    hosts = (r"[a-z0-9-]+\.s3\.[a-z0-9-]+\.amazonaws\.com",)
    caps = (Cap(3_500),)

    def __init__(self, refuses: Callable[[str], bool]) -> None:
        super().__init__(refuses)
        self.objects: dict[str, tuple[float, list[Any]]] = {}  # when, and its messages, by key

    @classmethod
    def credential(cls, request: Request) -> str | None:
        """S3 wants the digest of the body in a header too."""
        return super().credential(request) if request.headers.get("x-amz-content-sha256") else None

    def error(self, status: int, name: str, words: str = "") -> Answer:
        text = f'<?xml version="1.0"?>\n<Error><Code>{name}</Code><Message>{words or name}</Message></Error>'
        return Xml(status, None, {"Content-Type": "application/xml"}, text)

    def unauthorized(self) -> Answer:
        return self.error(403, "SignatureDoesNotMatch", "The request signature we calculated does not match.")

    def throttled(self, cap: Cap, wait: float, at: float) -> Answer:
        return self.error(503, "SlowDown", "Please reduce your request rate.")

    def failed(self, status: int) -> Answer:
        return self.error(status, "InternalError")

    def unknown(self, request: Request) -> Answer:
        return self.error(405, "MethodNotAllowed")

    def respond(self, request: Request) -> Answer:
        key = unquote(request.path[1:])
        if request.method != "PUT" or not key:
            return self.unknown(request)
        if len(key.encode()) > LONGEST_KEY:
            return self.error(400, "KeyTooLongError")
        digest = sha256(request.body).hexdigest()
        if request.headers["x-amz-content-sha256"] not in (digest, "UNSIGNED-PAYLOAD"):
            return self.error(400, "XAmzContentSHA256Mismatch")
        again = key in self.objects
        self.objects[key] = request.at, [_message(line) for line in request.body.splitlines()]
        if again:
            self.events = Events()
        for name in self.objects if again else (key,):
            at, messages = self.objects[name]
            for message in messages:
                self.keep(message, at, object=name)
        return Answer(200, None, {"ETag": f'"{digest[:32]}"'})


def _message(line: bytes) -> Any:
    """S3 does not look at what it keeps."""
    try:
        return msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
