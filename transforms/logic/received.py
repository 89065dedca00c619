"""What is posted to `serve --listen` becomes lines of an event file; or it is refused, with a sentence."""

from collections.abc import Mapping
from typing import Any

import msgspec

MAX_MESSAGE = 32 * 1024  # bytes of JSON; both as at Segment
MAX_BODY = 500 * 1024
SINGLE = ("identify", "group", "track")  # paths below /v1/ that take one message of this type
BATCHES = ("batch", "import")  # those that take a batch, an array of messages, or a message that says its type

_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode


class Refused(Exception):
    """Nothing of a request was taken. `status` is that of its answer."""

    def __init__(self, status: int, words: str) -> None:
        super().__init__(words)
        self.status = status


def lines_of(path: str, body: bytes, received: str) -> list[bytes]:
    """A line for each message of a request, all or none; `received`: when it came. Raises Refused."""
    try:
        content = _decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Refused(400, "the body is not JSON") from error
    if path in SINGLE:
        if not isinstance(content, dict):
            raise Refused(400, "the body is not one JSON object")
        return [_line({**content, "type": path}, "the message", {}, received)]
    messages, shared = _batch(content)
    return [_line(each, f"message {number} of the batch", shared, received) for number, each in enumerate(messages, 1)]


def _batch(content: Any) -> tuple[list[Any], Mapping[str, Any]]:
    """The messages, and what holds for all of them."""
    if isinstance(content, list):
        return content, {}
    if not isinstance(content, dict):
        raise Refused(400, 'the body is neither {"batch": [...]}, nor an array of messages, nor a message')
    if "batch" not in content:
        return [content], {}
    if not isinstance(content["batch"], list):
        raise Refused(400, "`batch` is not an array")
    context = content.get("context")
    if context is not None and not isinstance(context, dict):
        raise Refused(400, "`context` is not an object")
    return content["batch"], content


def _line(message: Any, which: str, shared: Mapping[str, Any], received: str) -> bytes:
    if not isinstance(message, dict):
        raise Refused(400, f"{which} is not a JSON object")
    if not isinstance(message.get("type"), str):
        raise Refused(400, f"{which} has no `type`")
    whole = {"receivedAt": received, **message}
    whole.pop("writeKey", None)  # a secret
    if shared.get("sentAt") is not None:
        whole.setdefault("sentAt", shared["sentAt"])
    if shared.get("context"):
        own = whole.get("context") or {}
        whole["context"] = {**shared["context"], **own} if isinstance(own, dict) else own
    try:
        line = _encode(whole)
    except (UnicodeEncodeError, RecursionError) as error:
        raise Refused(400, f"{which} cannot be written as JSON again") from error
    if len(line) > MAX_MESSAGE:
        raise Refused(413, f"{which} has {len(line):,} bytes; at most {MAX_MESSAGE:,} are taken")
    return line
