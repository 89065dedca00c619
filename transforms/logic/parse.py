"""Parse: a line becomes an event, or a bad record that says what is wrong, where, and what to do.

The good path is one decode of the tagged union and a few cheap checks; everything that explains
an error is off that path.
"""

import difflib
import json
import re
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, get_args

import msgspec
from msgspec import Struct

from schemas.events import AnyEvent, Audience, ExternalId, Profile, Trait

MAX_LINE_BYTES = 4 * 1024 * 1024
MAX_DEPTH = 64  # arrays and objects inside one another; far below what the codecs can carry
EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)
AHEAD = timedelta(days=1)  # how far a sender's clock may be ahead of the run's

_ADVICE = {
    "broken_json": "write one JSON object per line; in Avro and Parquet `value` and `traits` hold JSON text",
    "invalid_utf8": "write the file as UTF-8",
    "too_long": "send fewer or smaller values in one event",
    "missing_field": "write the field in every event of this type",
    "empty_id": "leave the event out, or find the identifier that was lost",
    "wrong_type": "write the value as the type that is expected",
    "unknown_event_type": "correct the type, or leave such events out; accounts are not supported yet",
    "unknown_computation": "declare it in the workspace, or correct the event",
    "wrong_computation_kind": "correct the event's type, or the kind of the computation in the workspace",
    "time_without_zone": "add the zone: `Z` for UTC, or an offset such as `+01:00`",
    "absurd_time": "correct the time, or the clock of what wrote it",
    "unsupported_value": "write it as text, or leave it out",
}
_TIME = "an RFC 3339 time with a zone, such as 1998-03-31T12:00:00Z"
_EVENTS: dict[str, Any] = {struct.__struct_config__.tag: struct for struct in get_args(AnyEvent)}
_KNOWN = {tag: frozenset(("type", *struct.__struct_fields__)) for tag, struct in _EVENTS.items()}
_KNOWN_ID = frozenset(ExternalId.__struct_fields__)


class BadRecord(Struct, frozen=True):
    """Why a line is no event."""

    reason: str  # of schemas.dead_letters.BAD_RECORD
    field: str = ""  # JSON path
    expected: str = ""
    advice: str = ""


class _Route(Struct, gc=False):
    profile_id: str


_decode = msgspec.json.Decoder(AnyEvent).decode
_plain = msgspec.json.Decoder().decode
_route = msgspec.json.Decoder(_Route).decode
# What a decoder raises, whatever the bytes.
_UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


def profile_id_of(line: bytes) -> str | None:
    """The profile id alone, for routing; None where there is none (no event, or a blank line).

    It reads no more than it must: a line that has a profile id may still be a bad record.
    """
    try:
        return _route(line).profile_id
    except _UNREADABLE:
        return None


class Parser:
    """Parses lines against a workspace's computations and the run's clock.

    `computations`: the kind, `trait` or `audience`, by what events may call a computation.
    `unknown_fields` counts the fields that accepted events had and that mean nothing.
    """

    def __init__(self, computations: Mapping[str, str], now: datetime) -> None:
        self.unknown_fields: Counter[str] = Counter()
        self._kinds = dict(computations)
        self._latest = now + AHEAD

    def parse(self, line: bytes) -> AnyEvent | BadRecord | None:
        """The event, or what is wrong; None for a blank line, which is no record."""
        if len(line) > MAX_LINE_BYTES:
            return _bad("too_long", "", f"at most {MAX_LINE_BYTES:,} bytes in a line")
        try:
            event = _decode(line)
        except _UNREADABLE:
            return self._explain(line)
        return self._fault(event) or event

    def _fault(self, event: AnyEvent) -> BadRecord | None:
        """What a well-formed event says that cannot be."""
        if event.profile_id.isspace():
            return _bad("empty_id", "$.profile_id", "more than blanks")
        if not EARLIEST <= event.at <= self._latest:
            latest = self._latest.isoformat(timespec="seconds")
            return _bad("absurd_time", "$.at", f"a time from 1970 to {latest}, one day after the run's clock")
        if isinstance(event, Trait):
            if self._kinds.get(event.computation) != "trait":
                return self._wrong_computation(event.computation, "trait")
            fault = _unsupported(event.value)
            return _bad_value("$.value", fault) if fault else None
        if isinstance(event, Audience):
            if self._kinds.get(event.computation) != "audience":
                return self._wrong_computation(event.computation, "audience")
        elif isinstance(event, Profile):
            for position, external_id in enumerate(event.external_ids):
                if external_id.id.isspace() or external_id.type.isspace():
                    field = "id" if external_id.id.isspace() else "type"
                    return _bad("empty_id", f"$.external_ids[{position}].{field}", "more than blanks")
            fault = _unsupported(event.traits)
            return _bad_value("$.traits", fault) if fault else None
        return None

    def _wrong_computation(self, computation: str, wanted: str) -> BadRecord:
        kind = self._kinds.get(computation)
        if kind:
            expected = f"an event of type `{kind}`: the workspace has this computation as {_A[kind]}, not {_A[wanted]}"
            return _bad("wrong_computation_kind", "$.type", expected)
        near = difflib.get_close_matches(computation[:200], self._kinds, 1)
        expected = "a computation of the workspace" + (f"; `{near[0]}` comes near" if near else "")
        return _bad("unknown_computation", "$.computation", expected)

    def _explain(self, line: bytes) -> AnyEvent | BadRecord | None:
        """The slow path: an event with unknown fields, or the first thing that is wrong."""
        if is_blank(line):
            return None
        try:
            text = line.decode()
        except UnicodeDecodeError as error:
            return _bad("invalid_utf8", "", f"UTF-8; the byte at {error.start} is not")
        try:
            plain = _plain(line)
        except RecursionError:
            return _bad_value("$", ("", _NOT_SO_DEEP))
        except msgspec.DecodeError as error:
            return _not_json(text, str(error))
        if not isinstance(plain, dict):
            return _bad("broken_json", "$", f"one object, not {_A[_name(plain)]}")
        tag = plain.get("type")
        if isinstance(tag, str) and tag not in _EVENTS:
            return _bad("unknown_event_type", "$.type", f"one of {', '.join(_EVENTS)}")
        unknown = _drop_unknown(plain, tag) if isinstance(tag, str) else []
        try:
            event: AnyEvent = msgspec.convert(plain, AnyEvent)
        except msgspec.ValidationError as error:
            return _invalid(str(error))
        fault = self._fault(event)
        if not fault:
            self.unknown_fields.update(unknown)
        return fault or event


def is_blank(line: bytes) -> bool:
    """Nothing but white space: not a record."""
    return not line or line.isspace()


def _bad(reason: str, field: str, expected: str) -> BadRecord:
    return BadRecord(reason, field if len(field) <= 200 else field[:200] + "…", expected, _ADVICE[reason])


def _drop_unknown(event: dict[str, Any], tag: str) -> list[str]:
    """Take away what no event of this type has; the names of what was taken."""
    unknown = [name for name in event if name not in _KNOWN[tag]]
    for name in unknown:
        del event[name]
    external_ids = event.get("external_ids")
    for external_id in external_ids if isinstance(external_ids, list) else ():
        if isinstance(external_id, dict):
            names = [name for name in external_id if name not in _KNOWN_ID]
            for name in names:
                del external_id[name]
            unknown += [f"external_ids[].{name}" for name in names]
    return unknown


# -- values that JSON can spell and that a state cannot keep


_Fault = tuple[str, str]  # the path from here on, and what was expected there


def _unsupported(value: Any, depth: int = 1) -> _Fault | None:
    """The first thing inside that is none of: 64-bit number, Unicode text, true, false, null, array, object."""
    kind = type(value)
    if kind is str:
        return None if value.isascii() or _is_unicode(value) else ("", "Unicode text; half of a surrogate pair is none")
    if kind is int:
        return None if -(2**63) <= value < 2**64 else ("", "a whole number of at most 64 bits")
    if kind is float:
        return None if value - value == 0 else ("", "a finite number of double precision")
    if kind is list or kind is dict:
        return _unsupported_inside(value, depth) if depth <= MAX_DEPTH else ("", _NOT_SO_DEEP)
    return None


def _unsupported_inside(value: list[Any] | dict[str, Any], depth: int) -> _Fault | None:
    if isinstance(value, list):
        for position, item in enumerate(value):
            if fault := _unsupported(item, depth + 1):
                return f"[{position}]{fault[0]}", fault[1]
        return None
    for key, item in value.items():
        if fault := _unsupported(key):
            return fault
        if fault := _unsupported(item, depth + 1):
            return f".{key}{fault[0]}", fault[1]
    return None


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


_NOT_SO_DEEP = f"at most {MAX_DEPTH} arrays and objects inside one another"


def _bad_value(path: str, fault: _Fault) -> BadRecord:
    return _bad("unsupported_value", path + fault[0], fault[1])


def _not_json(text: str, words: str) -> BadRecord:
    """Python's own decoder reads NaN, endless numbers and half surrogate pairs: it can say where they are."""
    try:
        fault = _unsupported(json.loads(text, parse_int=float))
    except (ValueError, RecursionError):
        fault = None
    if fault:
        return _bad_value("$", fault)
    words = "the line ends before the object does" if "truncated" in words else words.replace("JSON is", "the JSON is")
    return _bad("broken_json", "", f"one JSON object; {words}")


# -- the decoder's words, in ours

_A = {
    "trait": "a trait",
    "audience": "an audience",
    "str": "text",
    "int": "a number",
    "float": "a number",
    "bool": "true or false",
    "array": "an array",
    "object": "an object",
    "null": "null",
    "datetime": _TIME,
}
_NAMES = {str: "str", int: "int", float: "float", bool: "bool", list: "array", dict: "object", type(None): "null"}
_FIELDS = {"at": _TIME, "member": "true or false", "value": "any JSON", "type": "one of " + ", ".join(_EVENTS)}
_PLACE = re.compile(r"(?P<words>.*?)(?: - at `(?P<path>\$.*)`)?", re.DOTALL)
_MISSING = re.compile(r"Object missing required field `(\w+)`")
_TYPES = re.compile(r"Expected `(\w+)`(?:, got `(\w+)`)?")


def _name(value: Any) -> str:
    return _NAMES[type(value)]


def _invalid(message: str) -> BadRecord:
    place = _PLACE.fullmatch(message)
    words, path = (place["words"], place["path"] or "$") if place else (message, "$")
    if missing := _MISSING.match(words):
        return _bad("missing_field", f"{path}.{missing[1]}", _FIELDS.get(missing[1], "text"))
    if "of length >= 1" in words:
        return _bad("empty_id", path, "at least one character")
    if "timezone" in words:
        return _bad("time_without_zone", path, _TIME)
    if "RFC3339" in words:
        return _bad("wrong_type", path, _TIME)
    if types := _TYPES.match(words):
        found = _A.get(types[2] or "")
        return _bad("wrong_type", path, _A.get(types[1], types[1]) + (f", not {found}" if found else ""))
    return _bad("wrong_type", path, words)
