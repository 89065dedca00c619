"""A shard in one run: what is counted, what is looked at, and what is kept of whom."""

from typing import Any

import pytest
from msgspec.json import encode
from transforms.logic.shard import PAYLOAD, SHARDS, shard_of, tombstone

from schemas.workspace import Connection, Sync, Workspace
from tests.transforms.logic.histories import SCORE, VIP
from tests.transforms.logic.job import Event, Job, at, hour
from tests.transforms.logic.vendors import Ads, Mailer
from transforms.logic.ledger import Fate
from transforms.read import packs

SHOP = Workspace(
    "shop",
    (SCORE, VIP),
    (
        Connection("mailer", "mailer", (Sync("score"), Sync("vip")), Mailer.Settings()),
        Connection("ads", "ads", (Sync("vip"),), Ads.Settings()),
    ),
)


def known(person: str, hours: int = 0) -> Event:
    ids = [{"type": "email", "id": f"{person}@x.example"}]
    return {"type": "profile", "profile_id": person, "at": at(hours), "external_ids": ids, "traits": {}}


def score(person: str, value: Any, hours: int = 0) -> Event:
    return {"type": "trait", "profile_id": person, "at": at(hours), "computation": "score", "value": value}


def deletion(person: str, hours: int) -> Event:
    return {"type": "delete", "profile_id": person, "at": at(hours)}


def test_what_is_read_is_applied_unchanged_or_a_dead_letter() -> None:
    job = Job()
    events = [known("ana"), known("ana", 1), score("ana", 1), score("ana", 1.0, 2), score("bob", 2), {"type": "?"}]
    job.run(SHOP, [*events, deletion("bob", 1), score("bob", 3)], hour(5))
    assert {"read": 8, "applied": 3, "unchanged": 4, "dead_letters": 1} == dict(job.detected.counts)
    [letter] = job.detected.dead_letters
    assert ("unknown_event_type", "events.jsonl", 6) == (letter.reason, letter.source, letter.line)


def test_fields_that_mean_nothing_are_counted() -> None:
    job = Job()
    job.run(SHOP, [known("ana") | {"colour": "red"}, known("bob") | {"colour": "blue"}], hour(5))
    assert 2 == job.detected.counts["unknown_field colour"]


def test_a_dead_letter_keeps_the_beginning_of_a_long_record() -> None:
    job = Job()
    job.run(SHOP, [{"type": "?", "text": "x" * 2 * PAYLOAD}], hour(5))
    [letter] = job.detected.dead_letters
    assert (PAYLOAD, True) == (len(letter.payload), letter.cut)


def test_only_people_with_news_are_looked_at_until_the_workspace_changes() -> None:
    job = Job()
    job.run(SHOP, [known("ana"), score("ana", 1), known("bob"), score("bob", 1)], hour(1))
    job.settle([Fate.DELIVERED, Fate.DELIVERED])

    def looked_at(workspace: Workspace, events: list[Event]) -> set[str]:
        job.run(workspace, events, hour(2))
        return {profile.profile_id for profile in job.detected.touched}

    assert {"ana", "bob"} == looked_at(SHOP, [])  # both have outcomes
    assert set() == looked_at(SHOP, [])
    assert {"bob"} == looked_at(SHOP, [score("bob", 1, 2)])
    assert {"ana", "bob"} == looked_at(Workspace("shop", SHOP.computations, SHOP.connections[:1]), [])


def test_a_deleted_person_is_kept_as_a_hash_and_a_time() -> None:
    job = Job()
    job.run(SHOP, [known("ana"), score("ana", 1)], hour(1))
    job.settle([Fate.DELIVERED])
    job.run(SHOP, [deletion("ana", 1)], hour(2))
    assert ["ana"] == list(job.state.profiles)  # the vendor is yet to forget her
    job.settle([Fate.DELIVERED])
    job.run(SHOP, [], hour(3))
    assert [tombstone("ana")] == list(job.state.profiles)
    assert b"ana" not in bytes(job.state.profiles[tombstone("ana")])
    job.run(SHOP, [known("ana", 2)], hour(4))
    assert ["ana"] == list(job.state.profiles)


def test_a_held_change_is_looked_at_until_it_is_sent() -> None:
    job = Job()
    member = {"type": "audience", "profile_id": "ana", "at": at(0), "computation": "vip", "member": True}
    job.run(SHOP, [known("ana"), member], hour(1), held=["ads"])
    assert ["ana"] == job.state.held
    job.settle([Fate.DELIVERED])
    job.run(SHOP, [], hour(2), held=["ads"])
    assert {"held vip": 1} == job.counts("ads")
    assert [("ads", "add")] == [(name, call.kind) for name, call in job.run(SHOP, [], hour(3))]


def test_lines_travel_to_their_shard_in_packs_and_what_has_no_profile_goes_to_the_first() -> None:
    lines = [encode(known(f"p{number}")) for number in range(5_000)] + [b"?"]
    found = dict.fromkeys(range(SHARDS), 0)
    for shard, pack in packs("events.jsonl", [(1, lines)], records=False):
        assert pack
        found[shard] += 1
    assert all(found.values())


@pytest.mark.parametrize(("profile_id", "shard"), [("ana", 34), ("bob", 0), ("Zoë", 42)])
def test_a_profile_stays_in_its_shard(profile_id: str, shard: int) -> None:
    assert shard == shard_of(profile_id)
