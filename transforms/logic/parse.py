"""Parse: a line becomes an event, or a bad record that says what is wrong, where, and what to do.

The good path is one decode of the tagged union and a few cheap checks; everything that explains
an error is off that path.
"""

import difflib
import json
import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, NamedTuple, get_args
from unicodedata import is_normalized, normalize

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from schemas.events import IDENTIFIER_TYPES, Account, AnyEvent, Audience, ExternalId, Profile, Trait
from schemas.formats import SUBJECTS
from schemas.state import account_key
from transforms.logic.keys import fits, id_text, meant_type
from transforms.logic.segment import MESSAGES, fault_of

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
    "unknown_event_type": "correct the type, or leave such events out",
    "unknown_message": "send only what computations say, or leave such messages out",
    "unknown_computation": "declare it in the workspace, or correct the event",
    "wrong_computation_kind": "correct the event's type, or the kind of the computation in the workspace",
    "wrong_subject": "write the one whom the computation is about, or correct the level of it in the workspace",
    "time_without_zone": "add the zone: `Z` for UTC, or an offset such as `+01:00`",
    "absurd_time": "correct the time, or the clock of what wrote it",
    "misspelled_identifier_type": "write the type so; in another spelling it is one that no destination knows",
}
_TIME = "an RFC 3339 time with a zone, such as 1998-03-31T12:00:00Z"
_EVENTS: dict[str, Any] = {struct.__struct_config__.tag: struct for struct in get_args(AnyEvent)}
_KNOWN = {tag: frozenset(("type", *struct.__struct_fields__)) for tag, struct in _EVENTS.items()}
_SUBJECTS = {struct: [n for n in SUBJECTS if n in struct.__struct_fields__] for struct in get_args(AnyEvent)}
_KNOWN_ID = frozenset(ExternalId.__struct_fields__)
_ID_LISTS = ("external_ids", "removed_ids")
_WELL_KNOWN = frozenset(IDENTIFIER_TYPES)
_OF_PEOPLE = ("profile", "delete")


class BadRecord(Struct, frozen=True):
    """Why a line is no event."""

    reason: str  # of schemas.dead_letters.BAD_RECORD
    field: str = ""  # JSON path
    expected: str = ""
    advice: str = ""


class _Route(Struct, gc=False):
    type: str = ""
    profile_id: Any = ""
    account_id: Any = ""  # in an event about a person a field that means nothing, whatever it has


_decode = msgspec.json.Decoder(AnyEvent).decode
_plain = msgspec.json.Decoder().decode
_route = msgspec.json.Decoder(_Route).decode
# What a decoder raises, whatever the bytes.
_UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


def subject_of(line: bytes) -> str | None:
    """The key of whom a line is about, for routing; None where there is none (no event, or a blank line).

    A profile's key is its id, an account's is its `account_key`. It reads no more than it must: a line that has a
    subject may still be a bad record.
    """
    try:
        route = _route(line)
    except _UNREADABLE:
        return None
    if route.type not in _OF_PEOPLE and (account_id := _as_text(route.account_id)):
        return account_key(account_id)
    return _as_text(route.profile_id)


def _as_text(found: Any) -> str | None:
    text = found if type(found) is str else id_text(found)
    return text if type(text) is str and text else None


class Parser:
    """Parses lines against a workspace's computations and the run's clock.

    `computations`: the kind, `trait` or `audience`, by what events may call a computation; `of_accounts`: the names
    of those that are about accounts.
    `unknown_fields` counts the fields that accepted events had and that mean nothing.
    """

    def __init__(self, computations: Mapping[str, str], now: datetime, of_accounts: Collection[str] = ()) -> None:
        self.unknown_fields: Counter[str] = Counter()
        self._kinds, self._of_accounts = dict(computations), frozenset(of_accounts)
        self._spelling = {normalize("NFC", name): name for name in computations}
        self._latest = now + AHEAD

    def parse(self, line: bytes) -> AnyEvent | BadRecord | None:
        """The event, or what is wrong; None for a blank line, which is no record."""
        if len(line) > MAX_LINE_BYTES:
            return _bad("too_long", "", f"at most {MAX_LINE_BYTES:,} bytes in a line")
        try:
            event = _decode(line)
        except _UNREADABLE:
            return self._explain(line)
        return self._checked(event)

    def _checked(self, event: AnyEvent) -> AnyEvent | BadRecord:
        """A well-formed event in the workspace's spelling, or what it says that cannot be."""
        blank = _blank(event) if event.account_id else event.profile_id.isspace()  # type: ignore[union-attr]
        if blank:
            return _bad("empty_id", f"$.{_blank(event)}", "more than blanks")
        if getattr(event, "profile_id", "")[:1] == "\0":  # the state has accounts under such names
            return _bad("unsupported_value", "$.profile_id", "no character NUL at its beginning", "write another id")
        if not EARLIEST <= event.at <= self._latest:
            latest = self._latest.isoformat(timespec="seconds")
            return _bad("absurd_time", "$.at", f"a time from 1970 to {latest}, one day after the run's clock")
        if isinstance(event, Trait):
            checked = self._computed(event, "trait")
            fault = _unsupported(event.value)
            return checked if not fault or isinstance(checked, BadRecord) else _bad_value("$.value", fault)
        if isinstance(event, Audience):
            return self._computed(event, "audience")
        if isinstance(event, Profile):
            known = _identified(event)
            fault = _unsupported(event.traits)
            return known if not fault or isinstance(known, BadRecord) else _bad_value("$.traits", fault)
        if isinstance(event, Account) and (fault := _unsupported(event.traits)):
            return _bad_value("$.traits", fault)
        return event

    def _computed(self, event: Trait | Audience, wanted: str) -> Trait | Audience | BadRecord:
        if (
            event.profile_id
            and not event.account_id
            and self._kinds.get(event.computation) == wanted
            and event.computation not in self._of_accounts
        ):  # nearly all of them
            return event
        spelt = self._spelt(event, wanted)
        if isinstance(spelt, BadRecord):
            return spelt
        of_account = spelt.computation in self._of_accounts
        if (of_account, not of_account) == (bool(spelt.account_id), bool(spelt.profile_id)):
            return spelt
        return _wrong_subject(spelt, of_account)

    def _spelt(self, event: Trait | Audience, wanted: str) -> Trait | Audience | BadRecord:
        if self._kinds.get(event.computation) == wanted:
            return event
        # The same letters may be spelt in more than one way: é, or e with an accent behind it.
        spelt = self._spelling.get(normalize("NFC", event.computation), event.computation)
        if self._kinds.get(spelt) == wanted:
            return replace(event, computation=spelt)
        return self._wrong_computation(spelt, wanted)

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
            return _bad_value("$", _TOO_DEEP)
        except msgspec.DecodeError as error:
            return _not_json(text, str(error))
        if not isinstance(plain, dict):
            return _bad("broken_json", "$", f"one object, not {_A[_name(plain)]}")
        tag = plain.get("type")
        if isinstance(tag, str) and tag not in _EVENTS:
            return _no_event(plain, tag)
        unknown = _drop_unknown(plain, tag) if isinstance(tag, str) else []
        _take_numbers(plain)
        try:
            # Of the one struct it takes a fifth of the time that it takes of the union.
            event: AnyEvent = msgspec.convert(plain, _EVENTS[tag] if isinstance(tag, str) else AnyEvent)
        except msgspec.ValidationError as error:
            return _invalid(str(error))
        checked = self._checked(event)
        if not isinstance(checked, BadRecord):
            self.unknown_fields.update(unknown)
        return checked


def _no_event(plain: dict[str, Any], tag: str) -> BadRecord:
    """What is wrong with an object of another type: a message of Segment's that is not understood, or anything."""
    if tag in MESSAGES and (fault := fault_of(plain)):
        return _bad(*fault)
    return _bad("unknown_event_type", "$.type", f"one of {', '.join(_EVENTS)}")


def is_blank(line: bytes) -> bool:
    """Nothing but white space: not a record."""
    return not line or line.isspace()


def _bad(reason: str, field: str, expected: str, advice: str = "") -> BadRecord:
    return BadRecord(reason, field if len(field) <= 200 else field[:200] + "…", expected, advice or _ADVICE[reason])


def _drop_unknown(event: dict[str, Any], tag: str) -> list[str]:
    """Take away what no event of this type has; the names of what was taken."""
    unknown = [name for name in event if name not in _KNOWN[tag]]
    for name in unknown:
        del event[name]
    for name, each in _ids_of(event):
        strange = [field for field in each if field not in _KNOWN_ID]
        for field in strange:
            del each[field]
        unknown += [f"{name}[].{field}" for field in strange]
    return unknown


def _take_numbers(event: dict[str, Any]) -> None:
    """Identifiers that came as whole numbers become text."""
    for name in SUBJECTS:
        if name in event:
            event[name] = id_text(event[name])
    for _, each in _ids_of(event):
        if "id" in each:
            each["id"] = id_text(each["id"])


def _ids_of(event: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for name in _ID_LISTS:
        found = event.get(name)
        for each in found if isinstance(found, list) else ():
            if isinstance(each, dict):
                yield name, each


def _blank(event: AnyEvent) -> str:
    """Which of its subjects is nothing but blanks; "": none."""
    return next((name for name in _SUBJECTS[type(event)] if getattr(event, name).isspace()), "")


def _wrong_subject(event: Trait | Audience, of_account: bool) -> BadRecord:
    right, wrong = ("account_id", "profile_id") if of_account else ("profile_id", "account_id")
    what = "accounts" if of_account else "people"
    if not getattr(event, right) and not getattr(event, wrong):
        return _bad("missing_field", f"$.{right}", f"{_ID}: the computation is one of {what}")
    return _bad("wrong_subject", f"$.{wrong}", f"`{right}` alone: the computation is one of {what}")


# -- identifiers


def _identified(event: Profile) -> Profile | BadRecord:
    """The event with the types of its identifiers in one spelling, or what is wrong with them."""
    if not event.removed_ids:
        for each in event.external_ids:
            if each.type not in _WELL_KNOWN or each.id.isspace():
                break
        else:
            return event
    bad = _wrong_id("external_ids", event.external_ids) or _wrong_id("removed_ids", event.removed_ids)
    if bad:
        return bad
    if all(is_normalized("NFC", each.type) for each in (*event.external_ids, *event.removed_ids)):
        return event
    return replace(event, external_ids=_spelt(event.external_ids), removed_ids=_spelt(event.removed_ids))


def _wrong_id(name: str, ids: list[ExternalId]) -> BadRecord | None:
    for position, each in enumerate(ids):
        if each.id.isspace():
            return _bad("empty_id", f"$.{name}[{position}].id", "more than blanks")
        if each.type in _WELL_KNOWN:
            continue
        if each.type.isspace():
            return _bad("empty_id", f"$.{name}[{position}].type", "more than blanks")
        if meant := _meant(each.type):
            return _bad("misspelled_identifier_type", f"$.{name}[{position}].type", f"did you mean `{meant}`?")
    return None


def _spelt(ids: list[ExternalId]) -> list[ExternalId]:
    return [ExternalId(type=normalize("NFC", each.type), id=each.id) for each in ids]


_meant = lru_cache(maxsize=1024)(meant_type)  # a workspace has few types of identifiers of its own


# -- values that JSON can spell and that a state cannot keep


class _Fault(NamedTuple):
    path: str  # from here on
    expected: str
    advice: str

    def below(self, step: str) -> "_Fault":
        return self._replace(path=step + self.path)


# As text, NaN would be a value like any other, and be sent.
_NOT_FINITE = _Fault("", "a finite number of double precision", "leave the value out, or send null")
_TOO_BIG = _Fault("", "a whole number of at most 64 bits", "write the number as text")
_NOT_UNICODE = _Fault(
    "", "Unicode text; half of a surrogate pair is none", "write the whole character, or leave it out"
)
_TOO_DEEP = _Fault(
    "", f"at most {MAX_DEPTH} arrays and objects inside one another", "send less of them inside one another"
)


def _unsupported(value: Any, depth: int = 1) -> _Fault | None:
    """The first thing inside that is none of: 64-bit number, Unicode text, true, false, null, array, object."""
    kind = type(value)
    if kind is str:
        return None if value.isascii() or _is_unicode(value) else _NOT_UNICODE
    if kind is int:
        return None if fits(value) else _TOO_BIG
    if kind is float:
        return None if value - value == 0 else _NOT_FINITE
    if kind is list or kind is dict:
        return _unsupported_inside(value, depth) if depth <= MAX_DEPTH else _TOO_DEEP
    return None


def _unsupported_inside(value: list[Any] | dict[str, Any], depth: int) -> _Fault | None:
    if isinstance(value, list):
        for position, item in enumerate(value):
            if fault := _unsupported(item, depth + 1):
                return fault.below(f"[{position}]")
        return None
    for key, item in value.items():
        if fault := _unsupported(key):
            return fault
        if fault := _unsupported(item, depth + 1):
            return fault.below(f".{key}")
    return None


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _bad_value(path: str, fault: _Fault) -> BadRecord:
    return _bad("unsupported_value", path + fault.path, fault.expected, fault.advice)


def _not_json(text: str, words: str) -> BadRecord:
    """Python's own decoder reads NaN, endless numbers and half surrogate pairs: it can say where they are."""
    try:
        fault = _unsupported(json.loads(text, parse_int=_whole))
    except (ValueError, RecursionError):
        fault = None
    if fault:
        return _bad_value("$", fault)
    words = "the line ends before the object does" if "truncated" in words else words.replace("JSON is", "the JSON is")
    return _bad("broken_json", "", f"one JSON object; {words}")


def _whole(digits: str) -> int:
    return int(digits) if len(digits) <= 21 else 2**64  # Python refuses to count in thousands of digits


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
_ID = "text or a whole number"
_FIELDS = {
    "at": _TIME,
    **dict.fromkeys((*SUBJECTS, "id"), _ID),
    "member": "true or false",
    "value": "any JSON",
    "type": "one of " + ", ".join(_EVENTS),
}
_PLACE = re.compile(r"(?P<words>.*?)(?: - at `(?P<path>\$.*)`)?", re.DOTALL)
_MISSING = re.compile(r"Object missing required field `(\w+)`")
_IS_ID = re.compile(r"\.(?:profile_id|account_id|id)$")
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
        if types[1] == "str" and _IS_ID.search(path):
            return _wrong_id_type(path, types[2] or "")
        found = _A.get(types[2] or "")
        return _bad("wrong_type", path, _A.get(types[1], types[1]) + (f", not {found}" if found else ""))
    return _bad("wrong_type", path, words)


def _wrong_id_type(path: str, found: str) -> BadRecord:
    what = "a number that is not whole or has more than 64 bits" if found in ("int", "float") else _A.get(found, found)
    return _bad("wrong_type", path, f"{_ID}, not {what}", "write the identifier as text")
