"""Who has an identifier: found in whatever part of the state it stands, and forgotten with the person."""

import sqlite3
from contextlib import closing
from pathlib import Path
from random import Random

import pytest

from pipeline import identifiers
from pipeline.state_db import StateDb
from schemas.calls import Identifier
from schemas.state import Known, ProfileState, encode_profile

ANA, BOB = Identifier("email", "ana@x.example"), Identifier("email", "bob@x.example")


def state_with(*ids: Identifier) -> bytes:
    return encode_profile(ProfileState(ids=[Known(each.type, each.id, 1, 1) for each in ids]))


@pytest.fixture
def db(tmp_path: Path) -> StateDb:
    StateDb.create(tmp_path / "state")
    return StateDb.open(tmp_path / "state")


def test_every_profile_that_has_it_is_found_once_though_it_stands_twice(db: StateDb) -> None:
    with closing(db), db.portion() as portion:
        portion.put({"ana": state_with(ANA), "family": state_with(BOB, ANA)})
        portion.name([(ANA, "ana"), (ANA, "family"), (BOB, "family"), (ANA, "ana")], [])
    assert ["ana", "family"] == StateDb.open(db.folder).having(ANA)


def test_another_type_of_the_same_text_is_another_identifier(db: StateDb) -> None:
    with closing(db), db.portion() as portion:
        portion.put({"ana": state_with(ANA)})
        portion.name([(ANA, "ana")], [])
    assert [] == StateDb.open(db.folder).having(Identifier("user_id", ANA.id))


def test_one_whose_digest_is_the_same_is_not_taken_for_it(db: StateDb) -> None:
    with closing(db), db.portion() as portion:
        portion.put({"ana": state_with(BOB)})
        portion.name([(ANA, "ana")], [])  # as if their digests were equal
    assert [] == StateDb.open(db.folder).having(ANA)


def test_any_order_of_naming_and_forgetting_finds_who_has_it() -> None:
    chance, has = Random(1), set[tuple[Identifier, str]]()
    with closing(sqlite3.connect(":memory:")) as database:
        database.executescript(identifiers.SCHEMA)
        everybody = [(Identifier("email", f"{n}@x"), f"p{m}") for n in range(9) for m in range(4)]
        for _ in range(300):
            named, unnamed = set(chance.sample(everybody, 3)), set(chance.sample(sorted(has), min(2, len(has))))
            identifiers.write(database, sorted(named - unnamed), sorted(unnamed - named), most=7)
            has = (has | named) - (unnamed - named)
            for identifier in {each for each, _ in everybody}:
                expected = sorted(profile for each, profile in has if each == identifier)
                assert expected == identifiers.find(database, identifier)


def test_many_are_found_at_once_in_both_tables() -> None:
    nobody = Identifier("email", "nobody@x.example")
    with closing(sqlite3.connect(":memory:")) as database:
        database.executescript(identifiers.SCHEMA)
        identifiers.write(database, [(ANA, "ana"), (BOB, "bob")], [], most=1)  # moved to `persons`
        identifiers.write(database, [(ANA, "eve"), (BOB, "bob")], [])
        assert {ANA: ["ana", "eve"], BOB: ["bob"]} == identifiers.find_all(database, [ANA, BOB, nobody])
        assert {} == identifiers.find_all(database, [nobody])
