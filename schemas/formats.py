"""The input formats, generated from the event structs: Avro, Parquet and JSON Schema, and flat records.

Avro and Parquet hold one flat record for every type of event: a column for each field of any
event, empty where this event has no such field, and JSON values as JSON text.
"""

import json
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, NamedTuple, get_args

import msgspec
import pyarrow as pa
from msgspec import Raw, inspect

from schemas.events import AnyEvent

SUBJECTS = ("profile_id", "account_id")  # whom an event is about: every event has one of them, or both

# One flat record: `at` in microseconds since 1970, JSON values as text, None where there is nothing.
Record = dict[str, Any]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class Column(NamedTuple):
    """A field of any event, as a column."""

    name: str
    kind: Literal["text", "id", "time", "flag", "json", "records"]
    needed: bool  # every event has it
    parts: "tuple[Column, ...]" = ()  # the fields of `records`


def _columns() -> tuple[Column, ...]:
    found: dict[str, list[Column]] = {"type": [Column("type", "text", needed=True)]}
    structs = get_args(AnyEvent)
    for struct in structs:
        about = inspect.type_info(struct)
        assert isinstance(about, inspect.StructType)
        for field in about.fields:
            found.setdefault(field.encode_name, []).append(_column(field))
    for name, columns in found.items():
        if len({(column.kind, column.parts) for column in columns}) > 1:
            raise TypeError(f"events disagree about the type of {name!r}")
    return tuple(
        columns[0]._replace(needed=name == "type" or [c.needed for c in columns] == [True] * len(structs))
        for name, columns in found.items()
    )


def _column(field: inspect.Field) -> Column:
    about = field.type if isinstance(field.type, inspect.Metadata) else inspect.Metadata(field.type)
    kind, name = about.type, field.encode_name
    match kind:
        case inspect.StrType():
            number = (about.extra or {}).get("whole_numbers")
            return Column(name, "id" if number else "text", field.required)
        case inspect.DateTimeType():
            return Column(name, "time", field.required)
        case inspect.BoolType():
            return Column(name, "flag", field.required)
        case inspect.AnyType() | inspect.DictType():
            return Column(name, "json", field.required)
        case inspect.ListType(item_type=inspect.StructType(fields=parts)):
            return Column(name, "records", field.required, tuple(map(_column, parts)))
    raise TypeError(f"no column for {name!r}, a {kind!r}")


COLUMNS = _columns()
_JSON = tuple(column.name for column in COLUMNS if column.kind == "json")
_IDS = tuple(column.name for column in COLUMNS if column.kind == "id")
_RECORDS = tuple(column.name for column in COLUMNS if column.kind == "records")
_PART_IDS = tuple({part.name for column in COLUMNS for part in column.parts if part.kind == "id"})
_FIELDS = {struct.__struct_config__.tag: struct.__struct_fields__ for struct in get_args(AnyEvent)}


# -- schemas


def avro_schema() -> dict[str, Any]:
    """The schema of an Avro file of events."""
    return {"type": "record", "name": "event", "fields": [_avro_field(column) for column in COLUMNS]}


def _avro_field(column: Column) -> dict[str, Any]:
    types: dict[str, Any] = {
        "text": "string",
        "id": "string",
        "time": {"type": "long", "logicalType": "timestamp-micros"},
        "flag": "boolean",
        "json": "string",
    }
    if column.kind == "records":
        item = {"type": "record", "name": f"{column.name}_item", "fields": [_avro_field(part) for part in column.parts]}
        types["records"] = {"type": "array", "items": item}
    doc = {"doc": "JSON text"} if column.kind == "json" else {}
    if column.needed:
        return {"name": column.name, "type": types[column.kind], **doc}
    return {"name": column.name, "type": ["null", types[column.kind]], "default": None, **doc}


def parquet_schema() -> pa.Schema:
    """The schema of a Parquet file of events."""
    return pa.schema([pa.field(column.name, _arrow_type(column), not column.needed) for column in COLUMNS])


def _arrow_type(column: Column) -> pa.DataType:
    match column.kind:
        case "time":
            return pa.timestamp("us", tz="UTC")
        case "flag":
            return pa.bool_()
        case "records":
            return pa.list_(
                pa.struct([pa.field(part.name, _arrow_type(part), not part.needed) for part in column.parts])
            )
    return pa.string()


def json_schema() -> dict[str, Any]:
    """The JSON Schema of one line. Unknown fields are allowed: they are ignored and counted."""
    (event,), parts = msgspec.json.schema_components([AnyEvent], ref_template="#/$defs/{name}")
    for part in parts.values():
        part.pop("additionalProperties", None)
        for name in (*_IDS, *_PART_IDS):
            if name in part["properties"]:
                part["properties"][name]["type"] = ["string", "integer"]
                part["properties"][name].pop("default", None)
        if not {*SUBJECTS} & {*part["required"]} and {*SUBJECTS} <= part["properties"].keys():
            part["oneOf"] = [{"required": [name]} for name in SUBJECTS]
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "event", **event, "$defs": parts}


# -- does a file's schema fit? What does not, in words; empty where everything fits


def avro_mismatch(schema: Any) -> str:
    """What of this Avro schema (as parsed JSON) does not fit events."""
    if not isinstance(schema, dict) or schema.get("type") != "record":
        return "its schema is not a record"
    types = {field["name"]: field["type"] for field in schema["fields"]}
    if not {*SUBJECTS} & types.keys():
        return f"it has no field `{SUBJECTS[0]}`"
    for column in COLUMNS:
        if column.name not in types:
            if column.needed:
                return f"it has no field `{column.name}`"
        elif not _avro_fits(types[column.name], column):
            wanted = json.dumps(_avro_field(column)["type"])
            return f"its field `{column.name}` is {json.dumps(types[column.name])}, not {wanted}"
    return ""


def avro_time_unit(schema: Any) -> int:
    """Microseconds in one unit of the schema's `at`."""
    at = next(field["type"] for field in schema["fields"] if field["name"] == "at")
    return _AVRO_UNITS[_avro_kind(at)["logicalType"]]


_AVRO_UNITS = {"timestamp-millis": 1000, "timestamp-micros": 1}


def _avro_kind(kind: Any) -> dict[str, Any]:
    """A type without `null`, always as an object."""
    if isinstance(kind, list):
        rest = [member for member in kind if member != "null"]
        kind = rest[0] if len(rest) == 1 else {}
    return kind if isinstance(kind, dict) else {"type": kind}


def _avro_fits(kind: Any, column: Column) -> bool:
    found = _avro_kind(kind)
    name = found.get("type")
    match column.kind:
        case "time":
            return name == "long" and found.get("logicalType") in _AVRO_UNITS
        case "flag":
            return name == "boolean"
        case "records":
            item = found.get("items")
            if name != "array" or not isinstance(item, dict) or item.get("type") != "record":
                return False
            parts = {field["name"]: field["type"] for field in item["fields"]}
            return all(part.name in parts and _avro_fits(parts[part.name], part) for part in column.parts)
        case "id":
            return name in ("string", "int", "long")
    return name == "string"


def parquet_mismatch(schema: pa.Schema) -> str:
    """What of this Parquet schema does not fit events."""
    if not {*SUBJECTS} & {*schema.names}:
        return f"it has no column `{SUBJECTS[0]}`"
    for column in COLUMNS:
        if column.name not in schema.names:
            if column.needed:
                return f"it has no column `{column.name}`"
            continue
        if schema.names.count(column.name) > 1:
            return f"it has more than one column `{column.name}`"
        found = schema.field(column.name).type
        if not (_arrow_fits(found, column) or (pa.types.is_null(found) and not column.needed)):
            return f"its column `{column.name}` is {found}, not {_arrow_type(column)}"
    return ""


def _arrow_fits(found: pa.DataType, column: Column) -> bool:
    types = pa.types
    match column.kind:
        case "time":
            return bool(types.is_timestamp(found) and found.tz)
        case "flag":
            return bool(types.is_boolean(found))
        case "records":
            if not (types.is_list(found) or types.is_large_list(found)) or not types.is_struct(found.value_type):
                return False
            parts = {field.name: field.type for field in found.value_type}
            return all(part.name in parts and _arrow_fits(parts[part.name], part) for part in column.parts)
        case "id":
            return _arrow_text(found) or bool(types.is_integer(found))
    return _arrow_text(found)


def _arrow_text(found: pa.DataType) -> bool:
    types = pa.types
    if types.is_dictionary(found):
        return _arrow_text(found.value_type)
    return bool(types.is_string(found) or types.is_large_string(found) or types.is_string_view(found))


# -- flat records and JSON lines

_decode = msgspec.json.Decoder(AnyEvent).decode
_check_json = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode


def to_record(line: bytes) -> Record:
    """The flat record of an event's JSON line. Raises msgspec.ValidationError."""
    event = _decode(line)
    tag = type(event).__struct_config__.tag
    record: Record = dict.fromkeys((column.name for column in COLUMNS), None)
    record["type"] = tag
    for column in COLUMNS:
        if column.name in _FIELDS[tag]:
            record[column.name] = _cell(column, getattr(event, column.name))
    return record


def _cell(column: Column, value: Any) -> Any:
    match column.kind:
        case "time":
            return (value - _EPOCH) // _MICROSECOND
        case "json":
            return _encode(value).decode()
        case "records":
            return msgspec.to_builtins(value)
        case "id":
            return value or None
    return value


def to_line(record: Record) -> bytes:
    """The JSON line of a flat record. Never fails: what no event can be, no line is either.

    Nothing stands for "not there", and an identifier that is a whole number becomes text. A time
    beyond the calendar stays a number; JSON text that is none, and text that is not UTF-8 (as
    Python's surrogate escapes), give a broken line.
    """
    fields = {name: value for name, value in record.items() if value is not None}
    at = fields.get("at")
    if at is not None:
        fields["at"] = _moment(at)
    fields |= _numbers_as_text(fields, _IDS)
    for name in _RECORDS:
        if isinstance(fields.get(name), list):  # text where some of it is not UTF-8
            fields[name] = [part and part | _numbers_as_text(part, _PART_IDS) for part in fields[name]]
    try:
        for name in _JSON:
            if name in fields:
                fields[name] = _json(fields[name])
        return _encode(fields)
    except UnicodeEncodeError:
        return json.dumps(record, ensure_ascii=False).encode("utf-8", "surrogateescape")


def _numbers_as_text(fields: Record, names: tuple[str, ...]) -> Record:
    return {name: str(fields[name]) for name in names if type(fields.get(name)) is int}


def _moment(at: int) -> datetime | int:
    try:
        return _EPOCH + timedelta(microseconds=at)
    except OverflowError:
        return at


def _json(text: str) -> Raw:
    try:
        _check_json(text)
    except (msgspec.DecodeError, RecursionError):
        # Not spliced in as it is: `1, "member": true` would become a field of its own.
        return Raw(b"!" + json.dumps(text).encode())
    return Raw(text.replace("\n", " "))  # a line stays one line; JSON has bare newlines only between tokens
