"""Events in an object store, over a server that speaks S3: found, checked, read in a step of a pipeline."""

import gzip
from collections.abc import Iterator
from functools import partial
from typing import Any

import apache_beam as beam
import boto3
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from apache_beam.io.filesystems import FileSystems
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from moto.server import ThreadedMotoServer

from pipeline.files import InputError, find_files
from pipeline.inputs import check_file, read_blocks
from schemas import formats

EVENTS = [b'{"type":"delete","profile_id":"p%d","at":"1998-03-31T12:00:00Z"}' % number for number in range(3)]


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    server = ThreadedMotoServer(port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(autouse=True)
def environment(server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As a user would set it; and a process in which no pipeline was made yet."""
    for name, value in {
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": server,
        "AWS_MAX_ATTEMPTS": "1",
    }.items():
        monkeypatch.setenv(name, value)
    FileSystems.set_options(None)
    yield
    FileSystems.set_options(None)


def put(bucket: str, contents: dict[str, bytes]) -> None:
    client = boto3.client("s3")
    client.create_bucket(Bucket=bucket)
    for name, content in contents.items():
        client.put_object(Bucket=bucket, Key=name, Body=content)
    client.close()


def put_events(bucket: str) -> None:
    parquet = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist([formats.to_record(EVENTS[1])], formats.parquet_schema()), parquet)
    contents = {
        "events/a.jsonl": EVENTS[0],
        "events/b.parquet": parquet.getvalue().to_pybytes(),
        "events/c.json.gz": gzip.compress(EVENTS[2]),
        "events/d.json.gz": b"",
        "events/_SUCCESS": b"",
        "events/": b"",
        "other/e.jsonl": b"",
    }
    put(bucket, contents)


def read(path: str) -> list[bytes]:
    return [line for _, lines in read_blocks(path) for line in lines]


def test_events_in_s3_are_found_and_read() -> None:
    put_events("found")
    files, notes = find_files(["s3://found/events/*", "s3://found/none/*"])
    assert [f"s3://found/events/{name}" for name in ("a.jsonl", "b.parquet", "c.json.gz", "d.json.gz")] == files
    assert ["s3://found/none/*: no file matches yet"] == notes[:1]
    assert ["jsonl", "parquet", "jsonl.gz", "empty"] == [check_file(file) for file in files]
    assert EVENTS == [line for file in files for line in read(file)]


def test_a_step_of_a_pipeline_reads_s3_too() -> None:
    put_events("steps")
    with beam.Pipeline(runner=FnApiRunner()) as root:
        lines = root | beam.Create(["s3://steps/events/c.json.gz"]) | beam.FlatMap(read)
        lines | beam.Map(partial(_same, EVENTS[2]))


def _same(expected: bytes, line: bytes) -> None:
    if expected != line:
        raise ValueError(f"{line!r} is not {expected!r}")


def test_a_worker_that_was_given_no_options_reads_s3() -> None:
    put_events("bare")
    assert [EVENTS[0]] == read("s3://bare/events/a.jsonl")


def test_the_endpoint_may_come_with_the_options_of_beam(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    put_events("options")
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    files = find_files(["s3://options/other/*"], [f"--s3_endpoint_url={server}"]).files
    assert ["s3://options/other/e.jsonl"] == files


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("s3://named/none.jsonl", "there is no such file; correct the path"),
        ("s3://nobodys-bucket/*", "it cannot be looked up (there is no bucket nobodys-bucket); correct the path"),
        ("s3://nobodys-bucket", "it is a directory; name the files in it: s3://nobodys-bucket/*"),
    ],
)
def test_what_is_named_and_not_there_is_an_error(path: str, said: str) -> None:
    put("named", {})
    with pytest.raises(InputError) as caught:
        find_files([path])
    assert str(caught.value).startswith(f"{path}: {said}")


def test_an_object_that_went_away_is_an_error_with_its_name() -> None:
    with pytest.raises(InputError, match=r"s3://nobodys-bucket/a.jsonl: it cannot be read \(.*Not found"):
        read("s3://nobodys-bucket/a.jsonl")


def test_an_error_of_the_store_while_reading_names_the_file() -> None:
    put_events("going")
    blocks = read_blocks("s3://going/events/b.parquet")
    boto3.client("s3").delete_object(Bucket="going", Key="events/b.parquet")
    with pytest.raises(InputError, match=r"s3://going/events/b.parquet: it cannot be read"):
        list(blocks)


def test_a_server_that_is_not_there_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    with pytest.raises(InputError, match=r"s3://found/\*: it cannot be looked up \(Could not connect to the endpoint"):
        find_files(["s3://found/*"])


def test_without_credentials_it_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(InputError, match=r"s3://found/\*: it cannot be looked up \(Unable to locate credentials\)"):
        find_files(["s3://found/*"])
