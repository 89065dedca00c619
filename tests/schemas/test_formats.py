"""The schemas follow from the event structs, and every format carries every event unchanged."""

import io
from datetime import UTC, datetime
from typing import Any

import fastavro
import jsonschema
import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from schemas import formats
from schemas.events import Account, AccountMember, AnyEvent, Audience, Delete, ExternalId, Profile, Trait

AT = datetime(1998, 3, 31, 12, 0, 0, 123456, tzinfo=UTC)
EVENTS: list[AnyEvent] = [
    Profile(
        profile_id="p1",
        at=AT,
        external_ids=[ExternalId(type="email", id="ana@example.com"), ExternalId(type="user_id", id="ü1")],
        removed_ids=[ExternalId(type="email", id="ana@old.example")],
        traits={"first_name": "Ana", "tags": ["a", None, 1.5], "deep": {"ok": True}},
    ),
    Profile(profile_id="p2", at=AT),
    Trait(profile_id="p1", at=AT, computation="total_revenue", value=450.25),
    Trait(profile_id="p1", at=AT, computation="last_category", value='a "quoted"\nline'),
    Trait(profile_id="p1", at=AT, computation="last_category", value=None),
    Audience(profile_id="p1", at=AT, computation="big_spenders", member=False),
    Trait(account_id="acme", at=AT, computation="seats", value={"used": 3}),
    Audience(account_id="acme", at=AT, computation="at_risk", member=True),
    Account(account_id="acme", at=AT, traits={"name": "Acme", "employees": 250}),
    AccountMember(account_id="acme", profile_id="p1", at=AT, member=True),
    Delete(profile_id="p2", at=AT),
]
LINES = [msgspec.json.encode(event) for event in EVENTS]


def decoded(lines: list[bytes]) -> list[AnyEvent]:
    return [msgspec.json.decode(line, type=AnyEvent) for line in lines]


def test_flat_records_and_back() -> None:
    assert EVENTS == decoded([formats.to_line(formats.to_record(line)) for line in LINES])


def test_avro_and_back() -> None:
    file = io.BytesIO()
    fastavro.writer(file, formats.avro_schema(), map(formats.to_record, LINES))
    file.seek(0)
    records: list[Any] = list(fastavro.reader(file))
    assert AT == records[0]["at"]
    for record in records:
        record["at"] = int(record["at"].timestamp()) * 1_000_000 + record["at"].microsecond
    assert EVENTS == decoded([formats.to_line(record) for record in records])


def test_parquet_and_back() -> None:
    file = io.BytesIO()
    pq.write_table(pa.Table.from_pylist([formats.to_record(line) for line in LINES], formats.parquet_schema()), file)
    table = pq.read_table(file)
    assert formats.parquet_schema() == table.schema
    table = table.set_column(table.schema.get_field_index("at"), "at", table["at"].cast(pa.int64()))
    assert EVENTS == decoded([formats.to_line(record) for record in table.to_pylist()])


def test_every_line_fits_the_json_schema() -> None:
    schema = formats.json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    for line in LINES:
        validator.validate(msgspec.json.decode(line))
    validator.validate({**msgspec.json.decode(LINES[2]), "unknown": "is ignored, not refused"})


@pytest.mark.parametrize("missing", ["type", "profile_id", "at", "computation", "value"])
def test_the_json_schema_refuses_an_incomplete_trait(missing: str) -> None:
    line = msgspec.json.decode(LINES[2])
    del line[missing]
    assert not jsonschema.Draft202012Validator(formats.json_schema()).is_valid(line)


def test_columns_are_all_fields_of_all_events_and_only_common_ones_are_needed() -> None:
    fields = {name for event in EVENTS for name in event.__struct_fields__}
    assert {"type", *fields} == {column.name for column in formats.COLUMNS}
    assert {"type", "at"} == {column.name for column in formats.COLUMNS if column.needed}


@pytest.mark.parametrize("both", [{"profile_id": "p1", "account_id": "acme"}, {}])
def test_the_json_schema_refuses_a_trait_of_both_and_of_nobody(both: dict[str, str]) -> None:
    line = {name: value for name, value in msgspec.json.decode(LINES[2]).items() if name != "profile_id"}
    assert not jsonschema.Draft202012Validator(formats.json_schema()).is_valid(line | both)


def test_a_file_needs_a_column_for_whom_its_events_are_about() -> None:
    schema = formats.parquet_schema()
    nobody = pa.schema([field for field in schema if field.name not in formats.SUBJECTS])
    assert "it has no column `profile_id`" == formats.parquet_mismatch(nobody)
    only_accounts = pa.schema([field for field in schema if field.name != "profile_id"])
    assert "" == formats.parquet_mismatch(only_accounts)
    avro = formats.avro_schema()
    fields = [field for field in avro["fields"] if field["name"] not in formats.SUBJECTS]
    assert "it has no field `profile_id`" == formats.avro_mismatch({**avro, "fields": fields})


def test_own_schemas_fit() -> None:
    assert "" == formats.avro_mismatch(formats.avro_schema())
    assert "" == formats.parquet_mismatch(formats.parquet_schema())


def test_what_common_tools_write_fits_too() -> None:
    text = pa.dictionary(pa.int32(), pa.large_string())
    schema = pa.schema(
        [
            ("at", pa.timestamp("ns", tz="Europe/Berlin")),
            ("type", text),
            ("profile_id", pa.string_view()),
            ("value", pa.null()),
            ("extra", pa.float64()),
        ]
    )
    assert "" == formats.parquet_mismatch(schema)
    millis = {"type": "long", "logicalType": "timestamp-millis"}
    fields = [{"name": "type", "type": ["string", "null"]}, {"name": "profile_id", "type": {"type": "string"}}]
    assert "" == formats.avro_mismatch({"type": "record", "fields": [*fields, {"name": "at", "type": millis}]})


@pytest.mark.parametrize(
    ("column", "type", "said"),
    [
        ("at", pa.timestamp("us"), "its column `at` is timestamp[us], not timestamp[us, tz=UTC]"),
        ("profile_id", pa.float64(), "its column `profile_id` is double, not string"),
        ("computation", pa.int64(), "its column `computation` is int64, not string"),
        ("member", pa.string(), "its column `member` is string, not bool"),
        ("type", pa.null(), "its column `type` is null, not string"),
        ("external_ids", pa.list_(pa.string()), "its column `external_ids` is list<item: string>, not list<item"),
    ],
)
def test_a_parquet_column_of_another_type_is_named(column: str, type: pa.DataType, said: str) -> None:
    schema = formats.parquet_schema()
    found = schema.set(schema.get_field_index(column), pa.field(column, type))
    assert formats.parquet_mismatch(found).startswith(said)


@pytest.mark.parametrize(
    ("field", "type", "said"),
    [
        ("at", "long", 'its field `at` is "long", not {"type": "long", "logicalType": "timestamp-micros"}'),
        ("type", "int", 'its field `type` is "int", not "string"'),
        ("member", ["null", "boolean", "int"], 'its field `member` is ["null", "boolean", "int"], not'),
        ("external_ids", {"type": "array", "items": "string"}, "its field `external_ids` is"),
    ],
)
def test_an_avro_field_of_another_type_is_named(field: str, type: Any, said: str) -> None:
    schema = formats.avro_schema()
    next(each for each in schema["fields"] if each["name"] == field)["type"] = type
    assert formats.avro_mismatch(schema).startswith(said)


def test_a_missing_needed_column_is_named() -> None:
    schema = formats.avro_schema()
    schema["fields"] = [field for field in schema["fields"] if field["name"] != "at"]
    assert "it has no field `at`" == formats.avro_mismatch(schema)
    assert "its schema is not a record" == formats.avro_mismatch("string")
    parquet = formats.parquet_schema()
    assert "it has no column `type`" == formats.parquet_mismatch(parquet.remove(parquet.get_field_index("type")))


def test_a_column_that_comes_twice_is_named() -> None:
    schema = formats.parquet_schema().append(pa.field("at", pa.string()))
    assert "it has more than one column `at`" == formats.parquet_mismatch(schema)


def test_json_text_that_is_none_cannot_become_fields_of_its_own() -> None:
    record = {"type": "trait", "profile_id": "p", "at": 0, "computation": "c", "value": '1,"member":true'}
    with pytest.raises(msgspec.DecodeError, match="malformed"):
        msgspec.json.decode(formats.to_line(record))


def test_json_text_over_several_lines_stays_one_line() -> None:
    line = formats.to_line({"type": "trait", "value": '{\n "a": "x\\ny"\n}'})
    assert b"\n" not in line
    assert {"type": "trait", "value": {"a": "x\ny"}} == msgspec.json.decode(line)


def test_text_that_is_not_utf8_gives_a_line_that_is_not_utf8() -> None:
    line = formats.to_line({"type": "delete", "profile_id": "caf\udce9", "at": 0})
    assert b"caf\xe9" in line
    with pytest.raises(UnicodeDecodeError):
        line.decode()


def test_columns_of_whole_numbers_fit_where_identifiers_are() -> None:
    ids = pa.list_(pa.struct([("type", pa.string()), ("id", pa.int32())]))
    schema = pa.schema(
        [("type", pa.string()), ("profile_id", pa.uint64()), ("at", pa.timestamp("us", tz="UTC")), ("removed_ids", ids)]
    )
    assert "" == formats.parquet_mismatch(schema)
    avro = formats.avro_schema()
    for field in avro["fields"]:
        if field["name"] == "profile_id":
            field["type"] = ["null", "long"]
        if field["name"] == "external_ids":
            field["type"][1]["items"]["fields"][1]["type"] = "int"
    assert "" == formats.avro_mismatch(avro)


def test_identifiers_that_are_whole_numbers_become_text() -> None:
    ids = [{"type": "user_id", "id": 7}, {"type": "email", "id": "a@x.io"}, None]
    record = {"type": "profile", "profile_id": 42, "external_ids": ids, "removed_ids": ids[:1]}
    assert {
        "type": "profile",
        "profile_id": "42",
        "external_ids": [{"type": "user_id", "id": "7"}, {"type": "email", "id": "a@x.io"}, None],
        "removed_ids": [{"type": "user_id", "id": "7"}],
    } == msgspec.json.decode(formats.to_line(record))
    assert 42 == record["profile_id"]


def test_the_json_schema_takes_whole_numbers_as_identifiers() -> None:
    validator = jsonschema.Draft202012Validator(formats.json_schema())
    line = msgspec.json.decode(LINES[0])
    assert validator.is_valid(line | {"profile_id": 42, "external_ids": [{"type": "user_id", "id": 7}]})
    assert not validator.is_valid(line | {"profile_id": 1.5})
    assert not validator.is_valid(line | {"profile_id": ""})
    assert not validator.is_valid(line | {"external_ids": [{"type": 7, "id": "7"}]})


def test_a_time_beyond_the_calendar_stays_a_number() -> None:
    assert b'{"at":9000000000000000000}' == formats.to_line({"at": 9 * 10**18})
