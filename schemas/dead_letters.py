"""A dead letter: anything that could not be used or delivered, with reason, payload and what to do."""

import re
from typing import Any
from urllib.parse import quote

from msgspec import MsgspecError, Struct
from msgspec.json import decode, encode
from msgspec.structs import replace


class DeadLetter(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One line of `runs/<run>/dead_letters.jsonl`."""

    step: str  # `Parse`, `DetectChanges` or `Deliver`
    reason: str  # a code of a closed set: `BAD_RECORD` below, `schemas.outcomes.Reason`, or `expired`
    expected: str = ""  # what would have been right, at which field
    field: str = ""  # JSON path: `$.at`
    source: str = ""  # the input file
    line: int | None = None  # of a JSON Lines file, from 1
    record: int | None = None  # of an Avro or Parquet file, from 0
    connection: str = ""
    payload: Any = None  # the record (text, cut at 64 KiB), or the call
    cut: bool = False  # the record was longer
    masked: bool = False  # personal data in it was replaced by stars
    answer: str = ""  # the vendor's words
    attempts: int = 0  # how often this run sent the call
    refused: str = ""  # the digest by which the ledger remembers that the call is not to be tried again
    advice: str = ""  # what to do


# The closed set of reasons for a bad record.
BAD_RECORD = {
    "broken_json": "the line is not one JSON object",
    "invalid_utf8": "the line is not UTF-8",
    "too_long": "the line is longer than the limit",
    "missing_field": "a field that this type of event needs is not there",
    "empty_id": "an identifier is empty",
    "wrong_type": "a field has a value of another type",
    "misspelled_identifier_type": "the type of an identifier is a well-known one in another spelling",
    "unknown_event_type": "`type` is none of the known event types",
    "unknown_message": "a message in Segment's format that says nothing of a computation, a person or an account",
    "unknown_computation": "the workspace has no such computation",
    "wrong_computation_kind": "a trait event for an audience, or the other way round",
    "wrong_subject": "about a person where the computation is one of accounts, the other way round, or about both",
    "time_without_zone": "`at` has no zone",
    "absurd_time": "`at` is before 1970 or ahead of the run's clock",
    "unsupported_value": "an endless number or one beyond 64 bits, half a character, too many levels, an id with NUL",
}

STARS = "***"
_LONG = 6  # characters
_PERSONAL = re.compile(r"[\w.+-]+(?:@|%40)[\w-]+(?:\.[\w-]+)+|\+?\d[\d ()/-]{6,}\d")
# What may be shown of a record; of a call, only what is in the dictionary of `_masked_call`.
_SHOWN = ("type", "profile_id", "account_id", "computation", "member", "at")


def mask(letter: DeadLetter) -> DeadLetter:
    """Without identifiers, traits and values. A call can still be replayed, a record cannot."""
    if letter.step != "Deliver":
        return replace(letter, payload=_masked_record(letter.payload), masked=True)
    call = letter.payload
    answer = without(letter.answer, [call["identifier"][1], call["value"], call["traits"]])
    return replace(letter, payload=_masked_call(call), answer=answer, masked=True)


def without(words: str, personal: Any) -> str:
    """A vendor's words without these values, and without what looks like an address or a number of a person."""
    for text in sorted(texts_of(personal), key=len, reverse=True):
        for form in dict.fromkeys((text, quote(text, safe=""))):
            edges = ("", "") if len(form) >= _LONG else (r"(?<!\w)", r"(?!\w)")  # a short one is a part of many words
            words = re.sub(re.escape(form).join(edges), STARS, words, flags=re.IGNORECASE)
    return _PERSONAL.sub(STARS, words)


def texts_of(value: Any) -> set[str]:
    """The texts and numbers in a value."""
    match value:
        case None | bool() | "":
            return set()
        case dict():
            return set().union(*map(texts_of, value.values()))
        case list():
            return set().union(*map(texts_of, value))
        case _:
            return {str(value)}


def _masked_call(call: dict[str, Any]) -> dict[str, Any]:
    value = call["value"]
    return call | {
        "identifier": [call["identifier"][0], STARS],
        "value": value if value is None or isinstance(value, bool) else STARS,
        "traits": dict.fromkeys(call["traits"], STARS),
    }


def _masked_record(text: str) -> str:
    try:
        record = decode(text)
    except (MsgspecError, RecursionError):
        record = None
    if not isinstance(record, dict):
        return STARS
    shown = {name for name, value in record.items() if name in _SHOWN and not isinstance(value, list | dict)}
    return encode({name: value if name in shown else STARS for name, value in record.items()}).decode()
