"""The fakes of Amazon Web Services: signatures by another hand, and what each service says of what it is given."""

from base64 import b64encode
from hashlib import sha256
from json import dumps
from typing import Any

import pytest

from sandbox.aws import signature
from sandbox.testing import running_sandbox
from sandbox.vendor import Request
from schemas.secret import Secret
from transforms.destinations import find
from transforms.destinations.auth import NO_SESSION
from transforms.destinations.contract import Request as Asked

SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
NOW = 1_000.0  # seconds since 1970, by the sandbox's clock in these tests


@pytest.fixture(autouse=True)
def secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET", SECRET)


def put(gateway: Any, slug: str, asked: Asked, signed: float, **change: str) -> Any:
    """Send a request that the destination's own auth signs, at a moment by the sandbox's clock."""
    kind = find(slug)
    assert kind
    settings: Any = type("Settings", (), {
        "region": "eu-west-1", "access_key_id": "AKIDEXAMPLE", "secret_access_key": Secret("${AWS_SECRET}"),
    })  # fmt: skip
    headers = {**asked.all_headers, **kind.auth.headers(asked, settings, NO_SESSION, signed), **change}
    return gateway.send(asked.method, asked.full_url, data=asked.body(), headers=headers)


def test_the_signature_is_the_one_of_amazons_own_example() -> None:
    """`get-vanilla` of the Signature Version 4 test suite."""
    headers = {
        "x-amz-date": "20150830T123600Z",
        "authorization": "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, "
        f"SignedHeaders=host;x-amz-date, Signature={'0' * 64}",
    }
    request = Request("GET", "example.amazonaws.com", "/", headers, b"", 0.0)
    expected = "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"
    assert expected == signature(request, SECRET)


# -- Kinesis
def records(*keys: str, target: str = "Kinesis_20131202.PutRecords") -> Asked:
    data = [
        {"Data": data_of({"type": "track", "userId": key, "event": "Entered"}), "PartitionKey": key} for key in keys
    ]
    headers = {"content-type": "application/x-amz-json-1.1", "x-amz-target": target}
    body = {"StreamName": "changes", "Records": data}
    return Asked("POST", "https://kinesis.eu-west-1.amazonaws.com/", json=body, headers=headers)


def data_of(message: Any) -> str:
    return b64encode(dumps(message).encode()).decode()


@pytest.mark.parametrize(("known", "late", "status"), [
    (set(), 0.0, 200), ({SECRET}, 0.0, 200), ({"other", SECRET}, 200.0, 200), ({"other"}, 0.0, 400),
    ({SECRET}, 400.0, 400),
])  # fmt: skip
def test_a_signature_is_of_a_key_that_is_known_and_is_fresh(
    gateway: Any, known: set[str], late: float, status: int
) -> None:
    with running_sandbox(credentials={"amazon-kinesis": known}) as running:
        gateway.url = running.url
        assert status == put(gateway, "amazon-kinesis", records("u1"), running.sandbox.now() - late).status_code


def test_a_signature_covers_the_body_and_what_is_asked(gateway: Any) -> None:
    with running_sandbox(credentials={"amazon-kinesis": {SECRET}}) as running:
        gateway.url = running.url
        now = running.sandbox.now()
        changed = put(gateway, "amazon-kinesis", records("u1"), now, **{"x-amz-target": "Kinesis_20131202.PutRecord"})
        assert (400, "UnrecognizedClientException") == (changed.status_code, changed.json()["__type"])


def test_records_are_kept_and_answered_in_their_order(sandbox: Any, gateway: Any) -> None:
    answer = put(gateway, "amazon-kinesis", records("u1", "u2"), 0.0).json()
    assert (0, 2) == (answer["FailedRecordCount"], len(answer["Records"]))
    [account] = sandbox.told("amazon-kinesis", "u2")
    assert ["Entered"] == [each["name"] for each in account["events"]]


def test_a_shard_takes_a_thousand_records_in_a_second(sandbox: Any, gateway: Any, clock: Any) -> None:
    sent = records(*["u1"] * 400)
    failed = [put(gateway, "amazon-kinesis", sent, 0.0).json()["FailedRecordCount"] for _ in range(3)]
    assert [0, 0, 200] == failed
    clock.now += 1.0
    assert 0 == put(gateway, "amazon-kinesis", sent, 0.0).json()["FailedRecordCount"]


@pytest.mark.parametrize("asked", [
    records(), records(*["u1"] * 501), records(""), records("x" * 257),
    records("u1", target="Kinesis_20131202.Nothing"),
])  # fmt: skip
def test_records_that_are_not_as_they_should_be_are_refused(sandbox: Any, gateway: Any, asked: Asked) -> None:
    assert 400 == put(gateway, "amazon-kinesis", asked, 0.0).status_code
    assert [] == [each for account in sandbox.told("amazon-kinesis") for each in account["events"]]


# -- Firehose
def lines(*datas: str, stream: str = "changes") -> Asked:
    headers = {"content-type": "application/x-amz-json-1.1", "x-amz-target": "Firehose_20150804.PutRecordBatch"}
    body = {"DeliveryStreamName": stream, "Records": [{"Data": data} for data in datas]}
    return Asked("POST", "https://firehose.eu-west-1.amazonaws.com/", json=body, headers=headers)


LINE = data_of({"type": "identify", "userId": "u1", "traits": {"vip": True}})


def test_a_stream_takes_five_mebibytes_in_a_second(sandbox: Any, gateway: Any, clock: Any) -> None:
    big = data_of({"type": "identify", "userId": "u1", "traits": {"about": "x" * 1_000_000}})
    answers = [put(gateway, "amazon-kinesis-firehose", lines(big, big, big), 0.0).json() for _ in range(2)]
    assert [0, 1] == [answer["FailedPutCount"] for answer in answers]
    assert "ServiceUnavailableException" == answers[1]["RequestResponses"][2]["ErrorCode"]
    clock.now += 1.0
    assert 0 == put(gateway, "amazon-kinesis-firehose", lines(LINE), 0.0).json()["FailedPutCount"]
    assert 6 == len(sandbox.told("amazon-kinesis-firehose", "u1")[0]["events"])


@pytest.mark.parametrize("asked", [
    lines(), lines(*[LINE] * 501), lines(LINE, stream=""), lines("no base64"), lines(LINE, data_of("x" * 1_024_001)),
])  # fmt: skip
def test_lines_that_are_not_as_they_should_be_are_refused(gateway: Any, asked: Asked) -> None:
    assert 400 == put(gateway, "amazon-kinesis-firehose", asked, 0.0).status_code


# -- EventBridge
def events(*changes: dict[str, Any], number: int = 1) -> Asked:
    good = {"Source": "acme", "DetailType": "track", "Detail": dumps({"type": "track", "userId": "u1", "event": "In"})}
    headers = {"content-type": "application/x-amz-json-1.1", "x-amz-target": "AWSEvents.PutEvents"}
    entries = [good | change for change in changes] * number
    return Asked("POST", "https://events.eu-west-1.amazonaws.com/", json={"Entries": entries}, headers=headers)


def test_entries_are_judged_one_by_one(sandbox: Any, gateway: Any) -> None:
    sent = events({}, {"Detail": "{"}, {"Source": ""}, {"Source": "aws.s3"}, {"Time": "now"}, {"Time": 1.5})
    answer = put(gateway, "amazon-eventbridge", sent, 0.0).json()
    codes = [None, "MalformedDetail", "InvalidArgument", "NotAuthorizedForSourceException", "InvalidArgument", None]
    assert (4, codes) == (answer["FailedEntryCount"], [row.get("ErrorCode") for row in answer["Entries"]])
    assert ["In", "In"] == [each["name"] for each in sandbox.told("amazon-eventbridge", "u1")[0]["events"]]


@pytest.mark.parametrize("asked", [
    events(), events({}, number=11), events({"Detail": dumps({"a": "x" * 200_000})}, number=2),
])  # fmt: skip
def test_entries_that_are_too_many_or_too_large_are_refused(gateway: Any, asked: Asked) -> None:
    assert 400 == put(gateway, "amazon-eventbridge", asked, 0.0).status_code


# -- Lambda
def invocation(told: Any, kind: str = "RequestResponse", function: str = "on-change") -> Asked:
    url = f"https://lambda.eu-west-1.amazonaws.com/2015-03-31/functions/{function}/invocations"
    return Asked("POST", url, content=dumps(told).encode(), headers={"x-amz-invocation-type": kind})


def test_a_function_is_told_and_may_fail(sandbox: Any, gateway: Any) -> None:
    good, bad = ({"type": "identify", "userId": who} for who in ("u1", "u2@refused.example"))
    answers = [put(gateway, "amazon-lambda", invocation(told), 0.0) for told in (good, bad)]
    assert [200, 200] == [answer.status_code for answer in answers]
    assert [None, "Unhandled"] == [answer.headers.get("X-Amz-Function-Error") for answer in answers]
    [account] = sandbox.told("amazon-lambda")
    assert ["on-change"] == [each["properties"]["function"] for each in account["events"]]


@pytest.mark.parametrize(("asked", "status"), [
    (invocation({}, "Event"), 202), (invocation({}, "DryRun"), 204), (invocation({}, "Later"), 400),
    (invocation({}, function="a.b"), 400), (invocation("x" * 7_000_000), 413),
])  # fmt: skip
def test_what_an_invocation_is_answered(gateway: Any, asked: Asked, status: int) -> None:
    assert status == put(gateway, "amazon-lambda", asked, 0.0).status_code


# -- S3
def stored(key: str, *told: Any, digest: str = "") -> Asked:
    content = b"".join(dumps(each).encode() + b"\n" for each in told)
    headers = {"x-amz-content-sha256": digest or sha256(content).hexdigest()}
    return Asked("PUT", f"https://acme.s3.eu-west-1.amazonaws.com/{key}", content=content, headers=headers)


def test_an_object_takes_the_place_of_one_of_the_same_name(gateway: Any) -> None:
    one, two = ({"type": "identify", "userId": who} for who in ("u1", "u2"))
    with running_sandbox(credentials={"amazon-s3": {SECRET}}) as running:
        gateway.url = running.url
        for asked in (stored("a/1.jsonl", one), stored("a/2.jsonl", two), stored("a/1.jsonl", one, two)):
            assert 200 == put(gateway, "amazon-s3", asked, running.sandbox.now()).status_code
        [account] = running.told("amazon-s3", "u2")
        assert ["a/1.jsonl", "a/2.jsonl"] == sorted(each["properties"]["object"] for each in account["events"])


@pytest.mark.parametrize(("asked", "code"), [
    (stored("k" * 1_025), "KeyTooLongError"), (stored("a", digest="0" * 64), "XAmzContentSHA256Mismatch"),
    (stored(""), "MethodNotAllowed"),
])  # fmt: skip
def test_objects_that_are_not_as_they_should_be_are_refused_in_xml(gateway: Any, asked: Asked, code: str) -> None:
    assert f"<Code>{code}</Code>" in put(gateway, "amazon-s3", asked, 0.0).text
