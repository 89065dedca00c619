"""A portion: what is counted, who is looked at, and what is kept of whom."""

from typing import Any

import pytest
from msgspec.json import encode
from msgspec.msgpack import Decoder
from msgspec.structs import replace

from schemas.packing import unpack
from schemas.state import account_key
from schemas.workspace import Connection, Sync, Workspace
from tests.transforms.logic.histories import SCORE, VIP
from tests.transforms.logic.job import Event, Job, at, hour
from tests.transforms.logic.vendors import Settings
from transforms.logic.fold import Facts
from transforms.logic.portion import PAYLOAD, Lines, fold_portion, known_of, parse_lines, tombstone
from transforms.logic.segment import Known
from transforms.read import packs, shard_of

SHOP = Workspace(
    "shop",
    (SCORE, VIP),
    (
        Connection(
            "mailer", "mailer", (Sync("score", forms=("identify",)), Sync("vip", forms=("identify",))), Settings()
        ),
        Connection("ads", "ads", (Sync("vip", forms=("list",)),), Settings()),
    ),
)
SHARDS = 64


def known(person: str, hours: int = 0) -> Event:
    ids = [{"type": "email", "id": f"{person}@x.example"}]
    return {"type": "profile", "profile_id": person, "at": at(hours), "external_ids": ids, "traits": {}}


def score(person: str, value: Any, hours: int = 0) -> Event:
    return {"type": "trait", "profile_id": person, "at": at(hours), "computation": "score", "value": value}


def member(person: str, hours: int = 0) -> Event:
    return {"type": "audience", "profile_id": person, "at": at(hours), "computation": "vip", "member": True}


def deletion(person: str, hours: int) -> Event:
    return {"type": "delete", "profile_id": person, "at": at(hours)}


def test_what_is_read_is_applied_unchanged_or_a_dead_letter() -> None:
    job = Job()
    events = [known("ana"), known("ana", 1), score("ana", 1), score("ana", 1.0, 2), score("bob", 2), {"type": "?"}]
    job.run(SHOP, [*events, deletion("bob", 1), score("bob", 3)], hour(5))
    assert {"read": 8, "dead_letters": 1} == dict(job.parsed.counts)
    assert (3, 4) == (job.portion.counts["applied"], job.portion.counts["unchanged"])
    [letter] = job.parsed.dead_letters
    assert ("unknown_event_type", "events.jsonl", 6) == (letter.reason, letter.source, letter.line)


def test_fields_that_mean_nothing_are_counted() -> None:
    job = Job()
    job.run(SHOP, [known("ana") | {"colour": "red"}, known("bob") | {"colour": "blue"}], hour(5))
    assert 2 == job.parsed.counts["unknown_field colour"]


def test_records_and_bad_ones_are_counted_by_file() -> None:
    job = Job()
    job.run(SHOP, [], hour(5))
    assert job.plan
    good, bad = encode(known("ana")), b'{"type": "?"}'
    parsed = parse_lines([Lines("a.jsonl", [1, 2], [good, bad]), Lines("b.avro", [7], [bad], records=True)], job.plan)
    assert {"a.jsonl": (2, 1), "b.avro": (1, 1)} == parsed.sources.sources
    assert [(2, None), (None, 7)] == [(letter.line, letter.record) for letter in parsed.dead_letters]


def test_a_dead_letter_keeps_the_beginning_of_a_long_record() -> None:
    job = Job()
    job.run(SHOP, [{"type": "?", "text": "x" * 2 * PAYLOAD}], hour(5))
    [letter] = job.parsed.dead_letters
    assert (PAYLOAD, True) == (len(letter.payload), letter.cut)


def test_people_of_whom_no_identifier_is_understood_are_counted_by_connection() -> None:
    job = Job()
    phone = {**known("ana"), "external_ids": [{"type": "phone", "id": "+43 1"}]}
    job.run(SHOP, [phone, score("ana", 1), known("bob"), score("bob", 1)], hour(1))
    assert {"mailer": 1} == dict(job.portion.no_identifier)


@pytest.mark.parametrize(
    ("news", "counted"),
    [
        ([], 0),
        ([score("ana", 1)], 0),  # which no sync of it tells
        ([member("ana", 1) | {"member": False}], 0),
        ([member("ana", 1)], 0),  # the consent is not known
        ([member("ana", 1), known("ana", 2) | {"external_ids": [], "traits": {"consent": True}}], 1),
    ],
)
def test_who_is_told_nothing_anyhow_is_not_counted_for_want_of_an_identifier(news: list[Event], counted: int) -> None:
    sync = Sync("vip", forms=("list",), where={"consent": True})
    job, shop = Job(), replace(SHOP, connections=(Connection("ads", "ads", (sync,), Settings()),))
    job.run(shop, [{**known("ana"), "external_ids": [{"type": "loyalty", "id": "7"}]}, *news], hour(5))
    assert counted == job.portion.no_identifier["ads"]


def test_profiles_that_were_not_known_are_counted() -> None:
    job = Job()
    job.run(SHOP, [known("ana")], hour(1))
    assert 1 == job.portion.new
    job.run(SHOP, [known("ana", 1), known("bob")], hour(2))
    assert 1 == job.portion.new


def test_everybody_is_looked_at_when_the_workspace_changes_and_only_then() -> None:
    job = Job()
    job.run(SHOP, [known("ana"), score("ana", 1), known("bob"), member("bob")], hour(1))
    job.settle(["delivered"] * len(job.due))

    def asked(workspace: Workspace, events: list[Event]) -> list[tuple[str, str]]:
        return [(name, call.profile_id) for name, call in job.run(workspace, events, hour(2))]

    assert [] == asked(SHOP, [])
    renamed = Workspace(
        "shop", SHOP.computations, (Connection("ads", "ads", (Sync("vip", forms=("list",), send_as="v"),), Settings()),)
    )
    assert [("ads", "bob"), ("ads", "bob")] == sorted(asked(renamed, []))  # out of the one list and into the other


def test_only_states_that_changed_are_written() -> None:
    job = Job()
    job.run(SHOP, [known("ana"), score("ana", 1)], hour(1))
    assert job.plan
    again = Facts(events=parse_lines([Lines("f", [1], [encode(known("ana"))])], job.plan).events["ana"])
    portion = fold_portion({"ana": again}, job._packed, job.plan, iter(range(10**15, 10**16)))
    assert ({}, [], {}) == (portion.states, portion.gone, portion.calls)


def test_a_deleted_person_is_kept_as_a_hash_and_a_time() -> None:
    job = Job()
    job.run(SHOP, [known("ana"), score("ana", 1)], hour(1))
    job.settle(["delivered"])
    job.run(SHOP, [deletion("ana", 1)], hour(2))
    assert ["ana"] == list(job.states)  # the vendor is yet to forget her
    job.settle(["delivered"])
    job.run(SHOP, [], hour(3))
    assert [tombstone("ana")] == list(job.states)
    assert b"ana" not in job.states[tombstone("ana")]
    job.run(SHOP, [known("ana", 2)], hour(4))
    assert ["ana"] == list(job.states)


def test_a_held_call_waits_in_the_log() -> None:
    job = Job()
    job.run(SHOP, [known("ana"), member("ana")], hour(1), held=["ads"])
    job.settle(["delivered"])
    assert [] == job.run(SHOP, [], hour(2), held=["ads"])
    assert [("ads", "add")] == [(name, call.kind) for name, call in job.run(SHOP, [], hour(3))]


def test_lines_travel_to_their_shard_in_packs_and_what_has_no_profile_goes_to_the_first() -> None:
    lines = [encode(known(f"p{number}")) for number in range(5_000)] + [b"?"]
    found = dict.fromkeys(range(SHARDS), 0)
    first: list[bytes] = []
    for shard, pack in packs("events.jsonl", [(1, lines)], False, SHARDS, Known({})):
        found[shard] += 1
        if shard == 0:
            first += unpack(pack, Decoder(Lines)).lines
    assert all(found.values())
    assert b"?" in first


@pytest.mark.parametrize(("profile_id", "shard"), [("ana", 34), ("bob", 0), ("Zoë", 42)])
def test_a_profile_stays_in_its_shard(profile_id: str, shard: int) -> None:
    assert shard == shard_of(profile_id, SHARDS)


def test_a_message_of_segment_is_the_events_that_it_says_wherever_it_is_taken_apart() -> None:
    job = Job()
    job.run(SHOP, [], hour(5))
    assert job.plan
    traits = {"vip": True, "email": "ana@x.example"}
    lines = [
        encode({"type": "identify", "userId": "ana", "traits": traits, "timestamp": at(1)}),
        encode({"type": "page", "userId": "ana", "timestamp": at(1)}),
        encode({"type": "group", "groupId": "acme", "userId": "ana", "timestamp": at(1)}),
    ]
    whole = parse_lines([Lines("a.jsonl", [7, 8, 9], lines)], job.plan)
    assert {"a.jsonl": (6, 1)} == whole.sources.sources
    assert [("unknown_message", 8)] == [(letter.reason, letter.line) for letter in whole.dead_letters]
    assert {"ana": 3, account_key("acme"): 2} == {key: len(events) for key, events in whole.events.items()}
    routed: dict[int, list[Lines]] = {}
    for shard, pack in packs("a.jsonl", [(7, lines)], False, SHARDS, known_of(job.plan)):
        routed.setdefault(shard, []).append(unpack(pack, Decoder(Lines)))
    assert {0: 1, shard_of("ana", SHARDS): 3, shard_of(account_key("acme"), SHARDS): 2} == {
        shard: sum(len(each.lines) for each in packed) for shard, packed in routed.items()
    }
    assert whole.events == parse_lines([each for packed in routed.values() for each in packed], job.plan).events
