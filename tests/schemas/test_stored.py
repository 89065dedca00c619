"""Records as format 4 stored them (`tests/data/stored`) are read as what they say, and written in the form of today."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec.msgpack import Decoder

from schemas.calls import Call, Identifier
from schemas.facts import Addressed, ReceiptFact
from schemas.receipts import Receipt
from schemas.state import (
    FORMAT,
    OLDEST,
    AccountState,
    Entry,
    Known,
    Membership,
    NewerState,
    Occurrence,
    Open,
    Part,
    ProfileState,
    Rest,
    decode_account,
    decode_ids,
    decode_part,
    decode_profile,
    encode_account,
    encode_part,
    encode_profile,
)
from transforms.sending.log import Mark

STORED = Path(__file__).parents[1] / "data" / "stored"
TIME = 883_612_800_000_000  # 1998-01-01T00:00:00Z
EMAIL = Identifier("email", "ana@x.example")

PROFILE = ProfileState(
    ids=[Known("user_id", "ana", TIME, TIME), Known("email", "ana@x.example", TIME + 1, TIME + 2, TIME + 3)],
    traits={"city": (TIME, "Łódź"), "tags": (TIME, ["a", {"b": 2.5}])},
    values={0: (TIME, True), 1: (TIME + 4, 7), 200: (TIME, None)},
    ledger={
        1: {0: Entry(told=True), 1: Entry(True, True, Open(TIME + 5, False, 2, True, b"traits"))},
        2: {0: Entry(rest=Rest(b"refused", b"excused", 1.5, b"said"))},
    },
    waiting=[Occurrence(3, 0, 9, TIME)],
    deleted=TIME - 2,
    cut=TIME - 1,
    stray={0: 1_767_603_601},
    asked=[(TIME, 2), (TIME + 5, 1)],
    accounts={"acme": Membership(TIME, True, {0: (TIME, True)}), "globex": Membership(TIME + 1, False)},
)
IN_NO_ACCOUNT = ProfileState(ids=[Known("user_id", "bob", TIME, TIME)], values={1: (TIME, 7)})
ACCOUNT = AccountState(
    ProfileState(
        ids=[Known("account_id", "acme", 0, 0)],
        values={3: (TIME, True)},
        ledger={4: {0: Entry(open=Open(TIME, True))}},
        asked=[(TIME, 1)],
    ),
    parts=(5 << 56) | 1 << 34,  # parts 56, 58 and 34: the first byte is 5
)
PART = Part(members={"ana": (TIME, True), "bob": (TIME + 1, False)}, values={3: (TIME, True)})
CALL = Call(
    "ana", "identify", EMAIL, "score", 7, TIME, TIME + 5, 1, 2, "score", "scores", TIME, b"before", TIME + 1,
    {"city": "Łódź"}, 1_767_603_602.5, True,
)  # fmt: skip
RECEIPT = Receipt(
    "ana", "track", EMAIL, 3, TIME + 5, 2, b"value", "rejected", 1_767_603_603.5, "missing_key", True, 1_767_603_604.5,
    b"refused", CALL,
)  # fmt: skip
MARK = Mark(1_767_603_605.5, True, 1_767_603_606.5, "job-7")
FACT = Addressed("ana", ReceiptFact(RECEIPT))

Codec = tuple[Callable[[bytes], Any], Callable[[Any], bytes]]
OF_PROFILES: Codec = decode_profile, encode_profile
OF_ACCOUNTS: Codec = decode_account, encode_account
OF_PARTS: Codec = decode_part, encode_part
STATES = [
    ("profile", PROFILE, OF_PROFILES, 0),
    ("profile_in_no_account", IN_NO_ACCOUNT, OF_PROFILES, 0),
    ("account", ACCOUNT, OF_ACCOUNTS, 8),
    ("part", PART, OF_PARTS, 0),
]  # name, what it says, how it is read and written, where its format stands


def stored(name: str) -> bytes:
    return (STORED / f"{name}.bin").read_bytes()


@pytest.mark.parametrize(("name", "says", "codec", "at"), STATES)
def test_a_state_of_format_4_is_read_and_written_with_its_format(name: str, says: Any, codec: Codec, at: int) -> None:
    decode, encode = codec
    old = stored(name)
    read = decode(old)
    assert says == read
    new = encode(read)
    assert (old[:at], FORMAT, read) == (new[:at], new[at], decode(new))
    assert says == decode(new)


@pytest.mark.parametrize(("name", "says", "codec", "at"), STATES)
def test_a_state_of_a_newer_format_is_not_read(name: str, says: Any, codec: Codec, at: int) -> None:
    decode, encode = codec
    packed = bytearray(encode(says))
    for newer in (FORMAT + 1, 0x7F):
        packed[at] = newer
        with pytest.raises(NewerState) as told:
            decode(bytes(packed))
        assert str(told.value) == (
            f"a newer version of profilecast wrote this state (format {newer}; this one reads {OLDEST} to {FORMAT}): "
            "run that version, or a newer one"
        )


def test_identifiers_are_read_without_the_rest() -> None:
    assert PROFILE.ids == decode_ids(stored("profile")) == decode_ids(encode_profile(PROFILE))


@pytest.mark.parametrize(
    ("name", "says"), [("call", CALL), ("receipt", RECEIPT), ("mark", MARK), ("fact", FACT)], ids=str
)
def test_what_has_no_format_is_read_as_ever(name: str, says: Any) -> None:
    assert says == Decoder(type(says)).decode(stored(name))
