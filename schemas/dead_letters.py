"""A dead letter: anything that could not be used or delivered, with reason, payload and what to do."""

from typing import Any

from msgspec import Struct


class DeadLetter(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One line of `runs/<run>/dead_letters.jsonl`."""

    step: str  # `Parse`, `DetectChanges` or `Deliver`
    reason: str  # a code of a closed set: `schemas.dead_letters.BAD_RECORD`, `schemas.outcomes.Reason`
    expected: str = ""  # what would have been right, at which field
    field: str = ""  # JSON path: `$.at`
    source: str = ""  # the input file
    line: int | None = None  # of a JSON Lines file, from 1
    record: int | None = None  # of an Avro or Parquet file, from 0
    connection: str = ""
    payload: Any = None  # the record (text, cut at 64 KiB), or the call
    answer: str = ""  # the vendor's words
    advice: str = ""  # what to do


# The closed set of reasons for a bad record.
BAD_RECORD = {
    "broken_json": "the line is not one JSON object",
    "invalid_utf8": "the line is not UTF-8",
    "too_long": "the line is longer than the limit",
    "missing_field": "a field that this type of event needs is not there",
    "empty_id": "an identifier is empty",
    "wrong_type": "a field has a value of another type",
    "unknown_event_type": "`type` is none of the known event types",
    "unknown_computation": "the workspace has no such computation",
    "wrong_computation_kind": "a trait event for an audience, or the other way round",
    "time_without_zone": "`at` has no zone",
    "absurd_time": "`at` is before 1970 or ahead of the run's clock",
    "unsupported_value": "the value is none of: JSON scalar, array, object, null",
}
