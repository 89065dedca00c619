"""Input files: checked before the run, read whole or refused by name."""

import gzip
import pickle
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import fastavro
import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline import columnar
from pipeline.inputs import BLOCK, InputError, check_file, read_blocks
from schemas import formats
from schemas.events import AnyEvent
from transforms.logic.parse import MAX_LINE_BYTES

EVENTS = [
    b'{"type":"profile","profile_id":"p1","at":"1998-03-31T12:00:00Z","external_ids":[{"type":"email","id":"a@x.io"}]}',
    b'{"type":"trait","profile_id":"p1","at":"1998-03-31T12:00:00.5Z","computation":"total_revenue","value":[1,"a"]}',
    b'{"type":"audience","profile_id":"p2","at":"1998-03-31T12:00:00Z","computation":"big_spenders","member":true}',
]
RECORDS = [formats.to_record(line) for line in EVENTS]


def write(path: Path, content: bytes) -> str:
    path.write_bytes(content)
    return str(path)


def lines_of(path: str) -> list[bytes]:
    return [line for _, lines in read_blocks(path) for line in lines]


def decoded(lines: Iterable[bytes]) -> list[AnyEvent]:
    return [msgspec.json.decode(line, type=AnyEvent) for line in lines]


def write_avro(path: Path, records: list[Any], schema: Any = None, **options: Any) -> str:
    with path.open("wb") as file:
        fastavro.writer(file, schema or formats.avro_schema(), records, **options)
    return str(path)


def write_parquet(path: Path, records: list[Any], schema: pa.Schema = None, **options: Any) -> str:
    pq.write_table(pa.Table.from_pylist(records, schema or formats.parquet_schema()), path, **options)
    return str(path)


def refusal(path: str) -> InputError:
    with pytest.raises(InputError) as caught:
        lines_of(path)
    assert path == caught.value.file
    assert caught.value.advice
    return caught.value


# -- formats


@pytest.mark.parametrize(
    ("name", "format"),
    [
        ("e.jsonl", "jsonl"),
        ("e.ndjson", "jsonl"),
        ("E.JSON", "jsonl"),
        ("e.json.gz", "jsonl.gz"),
        ("e.jsonl.gz", "jsonl.gz"),
        ("part-0000", "jsonl"),
        ("part-0000.gz", "jsonl.gz"),
    ],
)
def test_json_lines_by_extension_or_content(tmp_path: Path, name: str, format: str) -> None:
    content = b"\n".join(EVENTS)
    path = write(tmp_path / name, gzip.compress(content) if format == "jsonl.gz" else content)
    assert format == check_file(path)
    assert EVENTS == lines_of(path)


@pytest.mark.parametrize("name", ["e.avro", "e"])
@pytest.mark.parametrize("codec", columnar.CODECS)
def test_avro(tmp_path: Path, name: str, codec: Any) -> None:
    path = write_avro(tmp_path / name, RECORDS * 2, codec=codec, sync_interval=100)
    assert "avro" == check_file(path)
    assert decoded(EVENTS * 2) == decoded(lines_of(path))
    blocks = list(read_blocks(path))
    assert len(blocks) > 1
    assert [sum(len(lines) for _, lines in blocks[:n]) for n in range(len(blocks))] == [first for first, _ in blocks]


@pytest.mark.parametrize("name", ["e.parquet", "e"])
def test_parquet(tmp_path: Path, name: str) -> None:
    path = write_parquet(tmp_path / name, RECORDS * 3000, row_group_size=4000)
    assert "parquet" == check_file(path)
    assert decoded(EVENTS * 3000) == decoded(lines_of(path))
    assert [(0, 8192), (8192, 808)] == [(first, len(lines)) for first, lines in read_blocks(path)]


def test_parquet_as_other_tools_write_it(tmp_path: Path) -> None:
    table = pa.table(
        {
            "type": pa.array(["trait", "trait"]).dictionary_encode(),
            "profile_id": pa.array(["p1", None], pa.large_string()),
            "at": pa.array([891345600_000_000_001, 891345600_000_000_002], pa.timestamp("ns", tz="Europe/Berlin")),
            "computation": ["total_revenue"] * 2,
            "value": ["1.5", "{}"],
            "member": pa.nulls(2),
            "weight": [1.0, 2.0],
        }
    )
    pq.write_table(table, tmp_path / "e.parquet")
    common = b'"at":"1998-03-31T12:00:00Z","computation":"total_revenue","value":'
    assert [
        b'{"type":"trait","profile_id":"p1",' + common + b"1.5}",
        b'{"type":"trait",' + common + b"{}}",
    ] == lines_of(str(tmp_path / "e.parquet"))


def test_avro_as_other_tools_write_it(tmp_path: Path) -> None:
    fields = [
        {"name": "weight", "type": {"type": "bytes", "logicalType": "decimal", "precision": 4, "scale": 2}},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {"name": "profile_id", "type": ["string", "null"]},
        {"name": "type", "type": "string"},
    ]
    records = [{"weight": b"\x01", "at": 891345600_000, "profile_id": None, "type": "delete"}]
    path = write_avro(tmp_path / "e.avro", records, {"type": "record", "name": "theirs", "fields": fields})
    assert [b'{"type":"delete","at":"1998-03-31T12:00:00Z"}'] == lines_of(path)


def test_columns_of_whole_numbers_as_identifiers(tmp_path: Path) -> None:
    ids = [[{"type": "user_id", "id": 7}]]
    at = pa.array([891345600_000_000], pa.timestamp("us", tz="UTC"))
    table = pa.table({"type": ["profile"], "profile_id": [42], "at": at, "external_ids": ids})
    pq.write_table(table, tmp_path / "e.parquet")
    schema = formats.avro_schema()
    schema["fields"][1]["type"] = ["null", "long"]
    schema["fields"][3]["type"][1]["items"]["fields"][1]["type"] = "long"
    record = {"type": "profile", "profile_id": 42, "at": 891345600_000_000, "external_ids": ids[0]}
    write_avro(tmp_path / "e.avro", [record], schema)
    line = (
        b'{"type":"profile","profile_id":"42","at":"1998-03-31T12:00:00Z","external_ids":[{"type":"user_id","id":"7"}]}'
    )
    assert [line, line] == [*lines_of(str(tmp_path / "e.parquet")), *lines_of(str(tmp_path / "e.avro"))]


@pytest.mark.parametrize("write_records", [write_avro, write_parquet])
def test_a_time_beyond_the_calendar_is_a_bad_record_not_a_bad_file(tmp_path: Path, write_records: Any) -> None:
    beyond = {**RECORDS[0], "at": 9 * 10**18}
    path = write_records(tmp_path / f"e.{write_records.__name__[6:]}", [beyond, RECORDS[2]])
    first, second = lines_of(path)
    assert b'"at":9000000000000000000' in first
    assert decoded(EVENTS[2:]) == decoded([second])


def test_avro_text_that_is_not_utf8_is_a_bad_record_not_a_bad_file(tmp_path: Path) -> None:
    path = Path(write_avro(tmp_path / "e.avro", RECORDS, codec="null"))
    path.write_bytes(path.read_bytes().replace(b"a@x.io", b"\xe9@x.io"))
    assert b"\xe9@x.io" in lines_of(str(path))[0]


def test_parquet_text_that_is_not_utf8_is_a_bad_record_not_a_bad_file(tmp_path: Path) -> None:
    path = Path(write_parquet(tmp_path / "e.parquet", RECORDS, compression="none", use_dictionary=False))
    path.write_bytes(path.read_bytes().replace(b"a@x.io", b"\xe9@x.io").replace(b"total_revenue", b"total_r\xffvenue"))
    first, second, third = lines_of(str(path))
    assert b"\xe9" in first
    assert b"\xff" in second
    assert decoded(EVENTS[2:]) == decoded([third])


# -- files that are not what they say


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("e.jsonl", gzip.compress(EVENTS[0]), "its name says JSON Lines, its content is gzip"),
        ("e.jsonl", b"PAR1...", "its name says JSON Lines, its content is Parquet"),
        ("e.json", "{}".encode("utf-16"), "its name says JSON Lines, its content is UTF-16 text"),
        ("e.jsonl.gz", EVENTS[0], "its name says gzip, its content is plain text"),
        ("e.jsonl.gz", gzip.compress(b"Obj\x01..."), "what is packed inside is Avro, not JSON Lines"),
        ("e.avro", EVENTS[0], "its name says Avro, its content is plain text"),
        ("e.parquet", b"Obj\x01...", "its name says Parquet, its content is Avro"),
        ("e.csv", b"type,profile_id", "its content is no JSON, Avro or Parquet"),
        ("e.zip", b"PK\x03\x04...", "its content is a zip archive"),
        ("e.gz", gzip.compress(b"type,profile_id"), "its content is gzip of something that is no JSON"),
    ],
    ids=range(10),
)
def test_a_file_that_is_not_what_its_name_says(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    path = write(tmp_path / name, content)
    assert said == refusal(path).wrong
    with pytest.raises(InputError):
        check_file(path)


def test_parquet_without_a_needed_column(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "e.parquet", [{"type": "delete", "at": 0}], pa.schema([("type", pa.string())]))
    assert "it is no Parquet file of events: it has no column `profile_id`" == refusal(path).wrong


def test_parquet_with_a_column_of_another_type(tmp_path: Path) -> None:
    schema = formats.parquet_schema()
    schema = schema.set(schema.get_field_index("at"), pa.field("at", pa.timestamp("us")))
    path = write_parquet(tmp_path / "e.parquet", RECORDS, schema)
    assert refusal(path).wrong.endswith("its column `at` is timestamp[us], not timestamp[us, tz=UTC]")


def test_avro_with_an_unknown_codec_is_named_with_codecs_that_are_known(tmp_path: Path) -> None:
    path = Path(write_avro(tmp_path / "e.avro", RECORDS, codec="snappy"))
    path.write_bytes(path.read_bytes().replace(b"snappy", b"brotli"))
    said = "it is compressed with the codec 'brotli', which is not known here"
    assert (said, "write it with the codec deflate, snappy or zstandard") == (
        refusal(str(path)).wrong,
        refusal(str(path)).advice,
    )


def test_avro_with_another_schema(tmp_path: Path) -> None:
    schema = {"type": "record", "name": "user", "fields": [{"name": "type", "type": "string"}]}
    path = write_avro(tmp_path / "e.avro", [{"type": "x"}], schema)
    assert "it is no Avro file of events: it has no field `profile_id`" == refusal(path).wrong


# -- files that are cut or damaged


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    assert "cannot be read" in refusal(str(tmp_path / "none.jsonl")).wrong


PACKED = gzip.compress(b"\n".join(EVENTS) * 1000)


@pytest.mark.parametrize(
    "content",
    [
        PACKED[:-1],
        PACKED[:-8],
        PACKED[: len(PACKED) // 2],
        PACKED[:12],
        PACKED[:-8] + zlib.crc32(b"other").to_bytes(4, "little") + PACKED[-4:],
        PACKED + b"garbage",
        PACKED[:40] + b"\xff\xff\xff\xff" + PACKED[44:],
    ],
    ids=["last byte", "no trailer", "half", "head only", "bad checksum", "trailing garbage", "damaged inside"],
)
def test_damaged_gzip_is_refused(tmp_path: Path, content: bytes) -> None:
    assert "cut short or damaged" in refusal(write(tmp_path / "e.jsonl.gz", content)).wrong


def test_gzip_of_several_members_is_read_whole(tmp_path: Path) -> None:
    content = b"".join(gzip.compress(line + b"\n") for line in EVENTS)
    assert EVENTS == lines_of(write(tmp_path / "e.jsonl.gz", content))


def test_avro_cut_anywhere_is_refused_or_ends_at_a_block(tmp_path: Path) -> None:
    whole = Path(write_avro(tmp_path / "whole.avro", RECORDS * 20, sync_interval=800)).read_bytes()
    with (tmp_path / "whole.avro").open("rb") as file:
        blocks = list(fastavro.block_reader(file))
    ends = [blocks[0].offset, *(block.offset + block.size for block in blocks)]
    assert len(ends) > 2
    for size in range(5, len(whole)):
        path = write(tmp_path / "cut.avro", whole[:size])
        if size not in ends:
            assert "cut short or damaged" in refusal(path).wrong, size


def test_parquet_cut_anywhere_is_refused(tmp_path: Path) -> None:
    whole = Path(write_parquet(tmp_path / "whole.parquet", RECORDS)).read_bytes()
    for size in range(4, len(whole), 97):
        assert "no readable Parquet" in refusal(write(tmp_path / "cut.parquet", whole[:size])).wrong


def test_damaged_parquet_pages_are_refused(tmp_path: Path) -> None:
    path = Path(write_parquet(tmp_path / "e.parquet", RECORDS * 100))
    content = bytearray(path.read_bytes())
    content[8:400] = b"\xa5" * 392
    refusal(write(path, bytes(content)))


def test_the_error_travels_between_processes() -> None:
    error = InputError("a.jsonl", "it is empty", "write it")
    assert "a.jsonl: it is empty; write it" == str(pickle.loads(pickle.dumps(error)))


# -- lines


def test_numbers_stay_right_with_blank_lines(tmp_path: Path) -> None:
    content = b"\n" + EVENTS[0] + b"\n\n" + EVENTS[1] + b"\r\n\n"
    assert [(1, [b"", EVENTS[0], b"", EVENTS[1] + b"\r", b""])] == list(
        read_blocks(write(tmp_path / "e.jsonl", content))
    )


@pytest.mark.parametrize("name", ["e.jsonl", "e.json.gz", "e.avro", "e.parquet", "e.csv", "_SUCCESS"])
def test_an_empty_file_of_any_name_has_no_events(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name, b"")
    assert "empty" == check_file(path)
    assert [] == lines_of(path)


def test_gzip_of_nothing_has_no_events(tmp_path: Path) -> None:
    assert [] == lines_of(write(tmp_path / "e.jsonl.gz", gzip.compress(b"")))


def test_a_byte_order_mark_is_dropped(tmp_path: Path) -> None:
    content = b"\xef\xbb\xbf" + EVENTS[0]
    for name in ("e.jsonl", "e"):
        assert [EVENTS[0]] == lines_of(write(tmp_path / name, content))
    assert [EVENTS[0]] == lines_of(write(tmp_path / "e.jsonl.gz", gzip.compress(content)))


def test_of_an_endless_line_only_the_beginning_comes(tmp_path: Path) -> None:
    long = b"x" * (10 * BLOCK)
    path = write(
        tmp_path / "e.jsonl", b"\n".join([EVENTS[0], long, EVENTS[1], long[: MAX_LINE_BYTES + 5], EVENTS[2], long])
    )
    cut = long[: MAX_LINE_BYTES + 1]
    assert [EVENTS[0], cut, EVENTS[1], cut, EVENTS[2], cut] == lines_of(path)
    firsts = [number for number, lines in read_blocks(path) for number in range(number, number + len(lines))]
    assert [1, 2, 3, 4, 5, 6] == firsts


def test_a_line_of_the_limit_comes_whole(tmp_path: Path) -> None:
    line = b"x" * MAX_LINE_BYTES
    assert [line, line] == lines_of(write(tmp_path / "e.jsonl", line + b"\n" + line))


@given(st.lists(st.sampled_from([0, 1, 100, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK]), max_size=6), st.booleans())
def test_lines_come_as_written_wherever_blocks_end(tmp_path_factory: Any, sizes: list[int], final: bool) -> None:
    path = tmp_path_factory.mktemp("lines") / "e.jsonl"
    lines = [bytes([65 + number]) * size for number, size in enumerate(sizes)]
    write(path, b"\n".join(lines) + (b"\n" if final and lines else b""))
    if not final and lines and not lines[-1]:
        lines.pop()
    blocks = list(read_blocks(str(path)))
    assert lines == [line for _, block in blocks for line in block]
    assert [1 + sum(len(block) for _, block in blocks[:n]) for n in range(len(blocks))] == [n for n, _ in blocks]
