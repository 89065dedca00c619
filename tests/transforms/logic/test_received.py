"""What is posted: lines, all of a request or none, and a sentence where it is refused."""

import json
from typing import Any

import pytest

from transforms.logic.received import BATCHES, MAX_MESSAGE, SINGLE, Refused, lines_of

NOW = "2026-01-05T09:00:00.000Z"
ONE = {"type": "identify", "userId": "u1"}


def taken(path: str, content: Any) -> list[Any]:
    lines = lines_of(path, json.dumps(content).encode(), NOW)
    assert all(b"\n" not in line for line in lines)
    return [json.loads(line) for line in lines]


def refused(path: str, body: bytes) -> tuple[int, str]:
    with pytest.raises(Refused) as caught:
        lines_of(path, body, NOW)
    return caught.value.status, str(caught.value)


@pytest.mark.parametrize("path", SINGLE)
def test_a_single_message_is_of_the_type_of_its_path(path: str) -> None:
    assert [{"receivedAt": NOW, "userId": "u1", "type": path}] == taken(path, {"userId": "u1", "type": "page"})


@pytest.mark.parametrize("path", BATCHES)
@pytest.mark.parametrize("content", [{"batch": [ONE, ONE]}, [ONE, ONE], ONE, {"batch": []}, []])
def test_a_batch_an_array_and_a_message_are_taken(path: str, content: Any) -> None:
    number = len(content["batch"]) if "batch" in content else 1 if content == ONE else len(content)
    assert [{"receivedAt": NOW, **ONE}] * number == taken(path, content)


def test_what_a_batch_says_of_all_holds_for_each_that_says_nothing_else() -> None:
    shared = {"context": {"ip": "1.2.3.4", "locale": "de"}, "sentAt": "2026-01-05T08:59:59Z"}
    own = ONE | {"context": {"locale": "en"}, "sentAt": "2026-01-01T00:00:00Z"}
    plain, kept = taken("batch", {"batch": [ONE, own], **shared})
    assert ({"ip": "1.2.3.4", "locale": "de"}, "2026-01-05T08:59:59Z") == (plain["context"], plain["sentAt"])
    assert ({"ip": "1.2.3.4", "locale": "en"}, "2026-01-01T00:00:00Z") == (kept["context"], kept["sentAt"])


def test_a_write_key_is_not_kept_and_a_time_of_its_own_is() -> None:
    [line] = taken("batch", {"batch": [{**ONE, "writeKey": "secret", "receivedAt": "x"}], "writeKey": "secret"})
    assert {**ONE, "receivedAt": "x"} == line


def test_lines_within_a_message_do_not_make_two_of_it() -> None:
    body = json.dumps({"batch": [{**ONE, "traits": {"a": "1\n2\r3\u2028"}}]}, indent=2).encode()
    [line] = lines_of("batch", body, NOW)
    assert b"\n" not in line
    assert b"\r" not in line


def test_a_message_that_is_too_long_takes_none_of_its_batch() -> None:
    room = MAX_MESSAGE - len(json.dumps({"receivedAt": NOW, **ONE, "a": ""}, separators=(",", ":")))
    assert taken("batch", [ONE, {**ONE, "a": "x" * room}])
    status, words = refused("batch", json.dumps([ONE, {**ONE, "a": "x" * (room + 1)}]).encode())
    assert (413, "message 2 of the batch has 32,769 bytes; at most 32,768 are taken") == (status, words)


@pytest.mark.parametrize(
    ("path", "body", "words"),
    [
        ("batch", b"", "the body is not JSON"),
        ("batch", b'{"batch": [', "the body is not JSON"),
        ("batch", b'"\xff"', "the body is not JSON"),
        ("batch", b"[" * 100_000, "the body is not JSON"),
        ("batch", b"3", 'the body is neither {"batch": [...]}, nor an array of messages, nor a message'),
        ("batch", b'{"batch": {}}', "`batch` is not an array"),
        ("batch", b'{"batch": [], "context": 3}', "`context` is not an object"),
        ("batch", b'[{"type": "track"}, 3]', "message 2 of the batch is not a JSON object"),
        ("batch", b'[{"type": 3}]', "message 1 of the batch has no `type`"),
        ("import", b"{}", "message 1 of the batch has no `type`"),
        ("track", b"[]", "the body is not one JSON object"),
    ],
)
def test_what_cannot_be_taken_is_refused_with_a_sentence(path: str, body: bytes, words: str) -> None:
    assert (400, words) == refused(path, body)
