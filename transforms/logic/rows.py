"""Rows of a table, before and after, and the events that the difference between them is.

A row says of a person: identifiers, traits, audiences, an account. What it says now and did not say when the table
was read before became so in between, whatever the row's own time says.
"""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Literal, NamedTuple

from msgspec import Raw

Event = dict[str, Any]  # as JSON has it; values of traits are JSON text
OnMissing = Literal["leave", "keep", "forget"]
_NULL = Raw(b"null")
_ZERO = datetime(1970, 1, 1, tzinfo=UTC)


class Row(NamedTuple):
    """What a table says of a person. A row that is gone keeps what it said last."""

    gone: bool = False
    at: int | None = None  # microseconds since 1970
    ids: Mapping[str, tuple[str, ...]] = {}  # by type
    values: Mapping[str, str | None] = {}  # of traits, computed or plain: JSON text
    audiences: Mapping[str, bool] = {}
    account: str | None = None


class Span(NamedTuple):
    """From when the table was read before (0: it never was) to when it was read now: microseconds since 1970."""

    since: int
    now: int

    def at(self, row: Row) -> str:
        """When what the row says became so: its own time, if that is in the span."""
        at = self.now if row.at is None else row.at
        return _text(min(max(at, self.since + 1), self.now))


def events_of(
    key: str, before: Row | None, after: Row, span: Span, computed: frozenset[str], on_missing: OnMissing
) -> Iterator[Event]:
    """The events that make of what was said `before` what is said `after`. `computed`: traits that are no plain ones.

    Of a row that is new, or is back, everything is said. None before: the table did not say anything of this person.
    """
    if after.gone:
        if before is not None and not before.gone:
            yield from _missing(key, before, _text(span.now), computed, on_missing)
        return
    at = span.at(after)
    anew = before is None or before.gone
    was = before or Row()
    yield from _profile(key, was, after, at, computed, anew)
    for name, value in after.values.items():
        if name in computed and (anew or name not in was.values or was.values[name] != value):
            yield _trait(key, at, name, value)
    for name, member in after.audiences.items():
        if anew or was.audiences.get(name) != member:
            yield _audience(key, at, name, member)
    if was.account != after.account or anew:
        if was.account is not None and was.account != after.account:
            yield _member(key, at, was.account, False)
        if after.account is not None:
            yield _member(key, at, after.account, True)


def _profile(key: str, was: Row, now: Row, at: str, computed: frozenset[str], anew: bool) -> Iterator[Event]:
    known, said = _identifiers(was), _identifiers(now)
    traits = {
        name: _raw(value)
        for name, value in now.values.items()
        if name not in computed and (anew or name not in was.values or was.values[name] != value)
    }
    added = [each for each in said if anew or each not in known]
    removed = [each for each in known if each not in said]
    if added or removed or traits:
        event = {"type": "profile", "profile_id": key, "at": at, "external_ids": added}
        yield event | ({"removed_ids": removed} if removed else {}) | ({"traits": traits} if traits else {})


def _missing(key: str, row: Row, at: str, computed: frozenset[str], on_missing: OnMissing) -> Iterator[Event]:
    if on_missing == "forget":
        yield {"type": "delete", "profile_id": key, "at": at}
    if on_missing != "leave":
        return
    for name in row.values:
        if name in computed:
            yield _trait(key, at, name, None)
    for name in row.audiences:
        yield _audience(key, at, name, False)
    if row.account is not None:
        yield _member(key, at, row.account, False)


def _identifiers(row: Row) -> list[dict[str, str]]:
    """Each once, in the order of the columns."""
    found = {(kind, each): {"type": kind, "id": each} for kind, ids in row.ids.items() for each in ids}
    return [*found.values()]


def _trait(key: str, at: str, name: str, value: str | None) -> Event:
    return {"type": "trait", "profile_id": key, "at": at, "computation": name, "value": _raw(value)}


def _audience(key: str, at: str, name: str, member: bool) -> Event:
    return {"type": "audience", "profile_id": key, "at": at, "computation": name, "member": member}


def _member(key: str, at: str, account: str, member: bool) -> Event:
    return {"type": "account_member", "account_id": account, "profile_id": key, "at": at, "member": member}


def _raw(value: str | None) -> Raw:
    return _NULL if value is None else Raw(value.encode())


@lru_cache(1024)  # what has no time of its own became so at one moment
def _text(micros: int) -> str:
    return (_ZERO + timedelta(microseconds=micros)).isoformat().replace("+00:00", "Z")
