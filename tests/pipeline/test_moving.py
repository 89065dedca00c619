"""Moving a state directory into a streaming job and back, as far as no broker is needed: refusals, and subjects."""

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from pipeline.disk import StoreError
from pipeline.inbox import Inbox
from pipeline.leases import Busy, deciding, log_lease
from pipeline.sent import make
from pipeline.state_db import NoState, StateDb
from pipeline.streaming.kafka import Kafka, KafkaProblem
from pipeline.streaming.moving_in import Origin, beginning
from pipeline.streaming.moving_out import export_state, forget_member
from pipeline.streaming.subjects import Subjects, state_errors
from pipeline.workspace import load
from schemas.calls import Call, Identifier
from schemas.registry import Registry, SlotKey
from schemas.state import (
    FORMAT,
    AccountState,
    Entry,
    Known,
    Open,
    Part,
    ProfileState,
    account_key,
    encode_account,
    encode_part,
    encode_profile,
    part_key,
)
from tests.pipeline.conftest import Shop
from tests.pipeline.running import profile, score, vip
from transforms.logic.accounts import part_of
from transforms.logic.plan import Plan
from transforms.logic.portion import tombstone

DAY = "2026-01-01T00:00:00Z"
LOG = Kafka("127.0.0.1:1", "shop")  # nobody listens there
ANA = (profile("ana", DAY, "ana@x.example"), vip("ana", DAY), score("ana", DAY, 1))


NEWER = bytes([FORMAT + 1])  # a state of a version that is not there yet


@pytest.fixture
def used(shop: Shop) -> Shop:
    assert 0 == shop.run(*ANA)
    return shop


def begin(shop: Shop, gateway: str | None = None) -> None:
    found = shop.receiver.url if gateway is None else gateway
    with beginning(LOG, Origin(shop.state, load(str(shop.workspace)), found)):
        raise AssertionError("it was not refused")


# -- into a log


def test_a_mistyped_directory_is_told(shop: Shop) -> None:
    with pytest.raises(NoState, match="there is no state here"):
        begin(shop)


def test_a_directory_in_which_nothing_was_decided_begins_nothing(shop: Shop) -> None:
    StateDb.create(shop.state)
    with pytest.raises(StoreError, match="nothing was decided there yet"):
        begin(shop)


def test_the_directory_of_a_newer_version_is_refused(used: Shop) -> None:
    with closing(StateDb.open(used.state)) as db, db.transaction() as database:
        database.execute("UPDATE meta SET value = value + 1 WHERE key = 'format'")
    with pytest.raises(StoreError, match=f"another version of profilecast wrote it .format {FORMAT + 1}, .*; use that"):
        begin(used)


def test_the_directory_of_another_workspace_is_refused(used: Shop) -> None:
    used.workspace.write_text(used.workspace.read_text().replace("workspace: shop", "workspace: bakery"))
    with pytest.raises(StoreError, match="belongs to the workspace 'shop', and this job is for 'bakery'"):
        begin(used)


def test_what_the_sandbox_was_told_is_not_taken_for_what_the_vendors_know(used: Shop) -> None:
    with pytest.raises(StoreError, match=f"told to the gateway {used.receiver.url}: give --gateway to this command"):
        begin(used, gateway="")


def test_a_process_that_decides_or_delivers_there_is_named(used: Shop) -> None:
    with deciding(used.state), pytest.raises(Busy, match=f"process {os.getpid()} on .* is deciding"):
        begin(used)
    with log_lease(used.state, "hook"), pytest.raises(Busy, match=f"hook: process {os.getpid()} on .* delivers it"):
        begin(used)


def test_messages_that_were_acknowledged_are_not_lost(used: Shop) -> None:
    inbox = Inbox(used.state)
    inbox.write(b'{"type": "track"}\n')
    inbox.close()
    with pytest.raises(StoreError, match="messages that were acknowledged over HTTP are not folded yet"):
        begin(used)


def test_a_directory_that_was_moved_is_only_read(used: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    StateDb.move(used.state, "the streaming job over shop")
    assert 3 == used.run(*ANA)
    assert "its state was moved to the streaming job over shop" in capsys.readouterr().err
    assert 3 == used.replay()
    assert 3 == used.main("serve", *used.common(), "--events", str(used.root / "*.jsonl"), "--status-port", "0")
    with pytest.raises(StoreError, match="moved to the streaming job over shop already"):
        begin(used)
    table = used.root / "ledger.csv"
    assert 0 == used.main("export", "ledger", "--state", str(used.state), "--out", str(table))


def test_a_directory_that_was_not_moved_after_all_goes_on(used: Shop) -> None:
    StateDb.move(used.state, "the streaming job over shop")
    StateDb.move(used.state, "")
    assert 0 == used.run(*ANA)


# -- out of a log


def test_a_folder_that_has_something_in_it_stays_as_it_is(used: Shop) -> None:
    with pytest.raises(StoreError, match="there is something already; --to needs a folder that is new, or empty"):
        export_state(LOG, used.state, "", print)


@pytest.mark.parametrize(
    ("options", "missing"),
    [([], "--log, --to"), (["--to", "state"], "--log"), (["--log", "kafka://127.0.0.1:1/shop"], "--to")],
)
def test_what_an_export_needs_is_said(
    options: list[str], missing: str, shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="1"):
        shop.main("export", "state", *options)
    assert f"the following arguments are required: {missing}\n" in capsys.readouterr().err


def test_states_of_a_newer_version_become_no_directory(tmp_path: Path) -> None:
    with (
        directory(tmp_path, ana=NEWER) as db,
        pytest.raises(KafkaProblem, match=r"shop\.state: a newer version of profilecast wrote this state"),
        state_errors(LOG),
    ):
        Subjects(db, REGISTRY, {}).enter(PLAN)


# -- subjects

EMAIL, USER = Identifier("email", "ana@x.example"), Identifier("user_id", "ana")
REGISTRY = Registry(connections=["hook"], slots=[SlotKey("hook", "t", "score", "identify", "score")])
PLAN = Plan(0, {"vip": (0, "audience"), "score": (1, "trait")}, frozenset(), ())


def known(ask: int = 0, **more: object) -> ProfileState:
    ledger = {1: {0: Entry(told=True, open=Open(ask, False) if ask else None)}}
    ids = [Known(*EMAIL, 1, 1), Known(*USER, 1, 1)]
    return ProfileState(ids, ledger=ledger, **more)  # type: ignore[arg-type]


@contextmanager
def directory(root: Path, **states: bytes) -> Iterator[StateDb]:
    StateDb.create(root / "made")
    db = StateDb.open(root / "made")
    with db.portion() as transaction:
        transaction.put(states)
    yield db
    db.close()


def append(db: StateDb, *calls: Call) -> None:
    with db.portion() as transaction:
        transaction.folded(0, make(db.folder, "hook"), 0)
        transaction.append(0, calls)


def call(profile_id: str, ask: int) -> Call:
    return Call(profile_id, "identify", EMAIL, "score", 1, 1, ask, slot=1)


def test_who_has_an_identifier_is_found_and_audiences_are_counted(tmp_path: Path) -> None:
    ana, bob = known(values={0: (1, True), 1: (1, 7)}), known(values={0: (1, False)})
    with directory(tmp_path, ana=encode_profile(ana), bob=encode_profile(bob)) as db:
        Subjects(db, REGISTRY, {}).enter(PLAN)
        assert ["ana", "bob"] == db.having(EMAIL)
        assert [(0, 1)] == [(number, size) for number, _, size in db.audiences()]


def test_who_waits_for_a_call_that_is_in_the_log_goes_on_waiting_and_others_are_asked_anew(tmp_path: Path) -> None:
    account = account_key("acme")
    states = {
        "ana": encode_profile(known(7)),
        "bob": encode_profile(known(7)),  # the call of this number is of somebody else
        account: encode_account(AccountState(known(9))),
    }
    with directory(tmp_path, **states) as db:
        append(db, call("ana", 7))
        subjects = Subjects(db, REGISTRY, {})
        subjects.enter(PLAN)
        assert states == db.get([*states])
        assert 2 == subjects.release()
        released = known()
        released.ledger[1][0] = Entry(exposed=True)
        assert {
            "ana": states["ana"],
            "bob": encode_profile(released),
            account: encode_account(AccountState(released)),
        } == db.get([*states])


def test_who_was_deleted_is_no_member_any_more(tmp_path: Path) -> None:
    """The account was told, and the job ended before it heard of it."""
    key = part_key("acme", part_of("ana"))
    with directory(tmp_path, **{key: encode_part(Part({"ana": (1, True)}))}) as db:
        forget_member(db, "acme", "ana", 5)
        assert {key: encode_part(Part())} == db.get([key])
        forget_member(db, "globex", "ana", 5)
        assert [key] == db.names("", 10)


def test_calls_with_other_numbers_are_found_by_these(tmp_path: Path) -> None:
    with directory(tmp_path, ana=encode_profile(known(7)), bob=encode_profile(known(7))) as db:
        append(db, call("ana", 7), call("bob", 8))
        subjects = Subjects(db, REGISTRY, {"hook": {"bob": {7: 8}}})
        subjects.enter(PLAN)
        assert 0 == subjects.release()
        assert {"ana": encode_profile(known(7)), "bob": encode_profile(known(8))} == db.get(["ana", "bob"])


@pytest.mark.parametrize("back", [False, True])
def test_of_somebody_who_is_known_as_deleted_and_not_the_newer_counts(tmp_path: Path, back: bool) -> None:
    """An engine that died may have written one of the two and not the other."""
    stone = encode_profile(ProfileState(deleted=5))
    ana = encode_profile(known(deleted=5) if back else known())
    with directory(tmp_path, **{"ana": ana, tombstone("ana"): stone}) as db:
        Subjects(db, REGISTRY, {}).enter(PLAN)
        assert ({"ana": ana} if back else {tombstone("ana"): stone}) == db.get(["ana", tombstone("ana")])
        assert int(back) == db.subjects()
