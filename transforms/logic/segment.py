"""Messages in Segment's wire format become events. `docs/segment.md` says which shapes are understood.

identify ─ profile, and trait or audience
track ──── profile, and trait or audience
group ──── account, and trait or audience of it; account_member and profile where it names a person
"""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import msgspec

from transforms.logic.keys import id_text

MESSAGES = frozenset(("identify", "group", "track", "page", "screen", "alias"))
_READ = ("identify", "group", "track")
_TIMES = ("timestamp", "originalTimestamp", "sentAt", "receivedAt")
_AUDIENCES = ("audience", "journey_step")  # classes of computations that a person is in or not; others have a value
_EVENTS = {"Audience Entered": True, "Audience Exited": False}
_AS_TRAITS = ("email", "phone")  # identifiers that travel as traits
_DEVICES = {"ios": "ios.idfa", "android": "android.idfa"}

Event = dict[str, Any]
Message = Mapping[str, Any]

_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode


class Known(NamedTuple):
    """The computations of a workspace."""

    kinds: Mapping[str, str]  # by key and by name: `trait` or `audience`
    of_accounts: frozenset[str] = frozenset()


class Fault(NamedTuple):
    """Why a message is not understood."""

    reason: str  # of schemas.dead_letters.BAD_RECORD
    field: str
    expected: str


class _NotUnderstood(Exception):
    def __init__(self, reason: str, field: str, expected: str) -> None:
        self.fault = Fault(reason, field, expected)


def events_of(line: bytes, known: Known) -> list[bytes]:
    """The raw events that a message says; none where the line is no message, or one that is not understood."""
    try:
        message = _decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return []
    if not isinstance(message, dict) or message.get("type") not in _READ:
        return []
    try:
        return [_encode(event) for event in _events(message, known)]
    except (_NotUnderstood, UnicodeEncodeError, RecursionError):
        return []


def fault_of(message: Message) -> Fault | None:
    """What is wrong with a message of one of the types `MESSAGES`."""
    try:
        _events(message, Known({}))
    except _NotUnderstood as error:
        return error.fault
    return None


def _events(message: Message, known: Known) -> list[Event]:
    if message["type"] not in _READ:
        raise _NotUnderstood("unknown_message", "$.type", "identify, group or track; the others say nothing of traits")
    at = _at(message)
    events = [*_of_group(message, known)] if message["type"] == "group" else [*_of_person(message, known)]
    return [{**event, "at": at} for event in events]


def _at(message: Message) -> Any:
    for name in _TIMES:
        if (time := message.get(name)) is not None:
            return time
    raise _NotUnderstood("missing_field", "$.timestamp", "an RFC 3339 time with a zone, such as 2026-01-05T09:00:00Z")


def _of_person(message: Message, known: Known) -> Iterator[Event]:
    who, ids = _whom(message)
    if not who:
        raise _NotUnderstood("missing_field", "$.userId", "a userId, an anonymousId or another identifier of a person")
    traits = _traits(message)
    values = _object(message, "properties") if message["type"] == "track" else traits
    computed = [*_computed(message, values, known)]
    if message["type"] == "track" and not computed:
        expected = "an audience or a computed trait: `context.personas`, or `audience_key` or `trait_key` in properties"
        raise _NotUnderstood("unknown_message", "$.event", expected)
    named = {event["computation"] for event in computed}
    plain = {name: value for name, value in traits.items() if name not in named and name not in _AS_TRAITS}
    yield {"type": "profile", "profile_id": who, "external_ids": ids, "traits": plain}
    account = _account(message)
    for event in computed:
        of_account = bool(account) and event["computation"] in known.of_accounts
        yield {**event, "account_id": account} if of_account else {**event, "profile_id": who}


def _of_group(message: Message, known: Known) -> Iterator[Event]:
    account, traits = _account(message), _object(message, "traits")
    if not account:
        raise _NotUnderstood("missing_field", "$.groupId", "the id of an account")
    computed = [*_computed(message, traits, known)]
    named = {event["computation"] for event in computed}
    plain = {name: value for name, value in traits.items() if name not in named}
    yield {"type": "account", "account_id": account, "traits": plain}
    yield from ({**event, "account_id": account} for event in computed)
    who, ids = _whom(message)
    if who:
        yield {"type": "profile", "profile_id": who, "external_ids": ids, "traits": {}}
        yield {"type": "account_member", "account_id": account, "profile_id": who, "member": True}


# -- whom


def _whom(message: Message) -> tuple[str, list[Event]]:
    """The person's id, and all identifiers. Without a `userId` the id is the first identifier with its type."""
    found = dict.fromkeys((kind, text) for kind, path, each in _identifiers(message) if (text := _id(path, each)))
    ids = [{"type": kind, "id": text} for kind, text in found]
    kind, text = next(iter(found), ("", ""))
    return (text if kind in ("user_id", "") else f"{kind}:{text}"), ids


def _identifiers(message: Message) -> Iterator[tuple[str, str, Any]]:
    """Type, place and value of what may be an identifier of a person."""
    context, traits = _object(message, "context"), _traits(message)
    yield "user_id", "$.userId", message.get("userId")
    yield "anonymous_id", "$.anonymousId", message.get("anonymousId")
    properties = _object(message, "properties") if message["type"] == "track" else {}
    for name in _AS_TRAITS:
        yield name, f"$.traits.{name}", traits.get(name) or properties.get(name)
    device = _object(context, "device", "$.context.")
    kind = _DEVICES.get(str(device.get("type")).lower())
    if kind and device.get("adTrackingEnabled") is not False:
        yield kind, "$.context.device.advertisingId", device.get("advertisingId")
    yield from _external_ids(context)


def _external_ids(context: Message) -> Iterator[tuple[str, str, Any]]:
    """`externalIds` of Segment, `externalId` of RudderStack: those of people, as they are and not encoded."""
    for name in ("externalIds", "externalId"):
        found = context.get(name) or ()
        if not isinstance(found, list | tuple) or not all(isinstance(each, dict) for each in found):
            raise _NotUnderstood("wrong_type", f"$.context.{name}", "a list of objects with `id` and `type`")
        for position, each in enumerate(found):
            if each.get("collection", "users") != "users" or each.get("encoding", "none") != "none":
                continue
            path = f"$.context.{name}[{position}]"
            kind = each.get("identifierType") or each.get("type")
            if not isinstance(kind, str) or not kind:
                raise _NotUnderstood("missing_field", f"{path}.type", "text")
            yield kind, f"{path}.id", each.get("id")


def _id(path: str, value: Any) -> str:
    """An identifier, or nothing. Raises _NotUnderstood where there is something else."""
    text = id_text(value)
    if text is None:
        return ""
    if not isinstance(text, str) or "\0" in text:  # with \0 begin keys of ours
        raise _NotUnderstood("wrong_type", path, "text, or a whole number of at most 64 bits")
    return text


def _account(message: Message) -> str:
    context = _object(message, "context")
    for path, found in (("$.groupId", message.get("groupId")), ("$.context.groupId", context.get("groupId"))):
        if text := _id(path, found):
            return text
    return ""


# -- what


def _traits(message: Message) -> Message:
    """What is said of the person; the traits of a `group` are the account's."""
    traits = _object(_object(message, "context"), "traits", "$.context.")
    return {**traits, **_object(message, "traits")} if message["type"] == "identify" else traits


def _computed(message: Message, values: Message, known: Known) -> Iterator[Event]:
    """The traits and audiences that a message is about, without whom.

    One that does not say which computation it is about has those of its traits that the workspace knows by name.
    """
    personas = _object(_object(message, "context"), "personas", "$.context.")
    names = [values.get("audience_key"), values.get("trait_key"), personas.get("computation_key")]
    asked = [name for name in names if isinstance(name, str) and name]
    if asked:
        key = next((name for name in asked if name in values), asked[0])
        is_audience = personas.get("computation_class") in _AUDIENCES or key == values.get("audience_key")
        yield _event(key, "audience" if is_audience else "trait", _value(message, values, key, is_audience))
    elif message["type"] != "track":
        of_accounts = message["type"] == "group"
        for name, value in values.items():
            if (kind := known.kinds.get(name)) and (name in known.of_accounts) == of_accounts:
                yield _event(name, kind, value)


def _value(message: Message, values: Message, key: str, is_audience: bool) -> Any:
    if key in values:
        return values[key]
    if is_audience and message.get("event") in _EVENTS:  # a journey names its value otherwise than itself
        return _EVENTS[message["event"]]
    place = "properties" if message["type"] == "track" else "traits"
    raise _NotUnderstood("unknown_message", f"$.{place}", "the value of the computation that it names, under its key")


def _event(name: str, kind: str, value: Any) -> Event:
    found = {"type": kind, "computation": name}
    return {**found, "member": value} if kind == "audience" else {**found, "value": value}


def _object(message: Message, name: str, above: str = "$.") -> Message:
    found = message.get(name)
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise _NotUnderstood("wrong_type", f"{above}{name}", "an object")
    return found
