"""The vendor-neutral message of a call, as `docs/semantics.md` shows it."""

from datetime import datetime, timedelta
from typing import Any

from schemas.calls import Call, Identifier, message_id
from schemas.workspace import Computation

_EPOCH = datetime(1970, 1, 1)
_DEVICES = {"ios.idfa": "ios", "android.idfa": "android"}


def message(call: Call, computation: Computation | None, event: str, namespace: str, connection: str) -> dict[str, Any]:
    """An `identify`, `track`, `group` or `delete` message as JSON-able dict.

    `event` is the name of a track event. An e-mail identifier travels as `traits.email` in
    identify and as `context.traits.email` in track.
    """
    body: dict[str, Any] = {"type": call.kind}
    context: dict[str, Any] = {}
    known = {} if call.kind == "group" else _whom(call.identifier, body, context)
    if call.kind == "group":
        body["groupId"] = call.identifier.id
    if call.kind in ("identify", "group"):
        body["traits"] = {**call.traits, **known, call.key: call.value}
    elif known:
        context["traits"] = known
    if call.kind == "track" and computation:
        body["event"] = event
        body["properties"] = properties(call, computation)
    if computation:
        context["personas"] = {
            "computation_class": computation.kind,
            "computation_key": call.key,
            "computation_id": computation.id,
            "namespace": namespace,
        }
    body["context"] = context
    body["messageId"] = message_id(connection, call)
    body["timestamp"] = timestamp(call.at)
    return body


def _whom(identifier: Identifier, body: dict[str, Any], context: dict[str, Any]) -> dict[str, Any]:
    """Say whom a message is about, in its body or its context; the trait that an identifier travels as."""
    match identifier.type:
        case "user_id":
            body["userId"] = identifier.id
        case "anonymous_id":
            body["anonymousId"] = identifier.id
        case "email" | "phone" as plain:
            return {plain: identifier.id}
        case device if device in _DEVICES:
            context["device"] = {"advertisingId": identifier.id, "type": _DEVICES[device]}
        case other:
            context["externalIds"] = [{"type": other, "id": identifier.id, "collection": "users"}]
    return {}


def properties(call: Call, computation: Computation) -> dict[str, Any]:
    """The properties of a track event."""
    owner = "trait_key" if computation.kind == "trait" else "audience_key"
    return {owner: call.key, call.key: call.value}


def timestamp(at: int) -> str:
    """RFC 3339 in UTC, from microseconds since 1970."""
    return f"{(_EPOCH + timedelta(microseconds=at)).isoformat(timespec='milliseconds')}Z"
