"""A connection's log on disk: the protocol of `transforms.sending.log`, and what others read of it."""

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from random import Random
from shutil import copy2, copyfile
from threading import Thread

import pytest

from pipeline import log as module
from pipeline.disk import StoreError
from pipeline.leases import Busy, log_lease
from pipeline.log import RECEIPTS_KEPT, SqliteLog
from pipeline.sent import Receipts, make, newest_letter, path_of, rename, unsettled, waiting
from pipeline.state_db import LETTERS_KEPT, NAME, StateDb
from pipeline.traces import Trace
from schemas.calls import Call
from tests.pipeline.stores import (
    HOOK,
    NUMBER,
    append,
    asks_in,
    call,
    cancel,
    delivered,
    fold,
    letter,
    mark,
    marks_in,
    no_file_longer_than,
    opened_log,
    process,
    result_of,
    settle,
)
from tests.sending.memory_log import MemoryLog
from transforms.sending.log import Attempt, Log, Mark, Waiting, Writing


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "a state? 100% #1"


@pytest.fixture
def db(folder: Path) -> Iterator[StateDb]:
    with StateDb.use(folder, make=True) as db:
        yield db


@pytest.fixture
def log(db: StateDb) -> Iterator[SqliteLog]:
    with opened_log(db.folder) as log:
        yield log


# -- reading


def test_a_log_without_calls_is_empty(log: SqliteLog) -> None:
    kept: Log = log
    assert ([], [], 0, 0, None, {}, 0) == (
        kept.read(False, 0, 10), kept.read(True, 0, 10), kept.newest(), kept.waiting(), kept.receipt(1), kept.facts(),
        kept.workspace(),
    )  # fmt: skip


def test_calls_come_as_they_were_in_the_order_of_asks_each_class_for_itself(db: StateDb, log: SqliteLog) -> None:
    live, backfill = [call(3), call(7, traits={"a": [1, "ü"]})], [call(5, backfill=True)]
    append(db, [*live, *backfill])
    append(db, [call(9)])
    append(db, [call(4)], "other", 1)
    assert [Waiting(each) for each in [*live, call(9)]] == log.read(False, 0, 10)
    assert [Waiting(backfill[0])] == log.read(True, 0, 10)
    assert (9, 4) == (log.newest(), log.waiting())


def test_reading_goes_on_behind_an_ask_and_says_with_less_that_there_is_no_more(db: StateDb, log: SqliteLog) -> None:
    append(db, [call(ask) for ask in range(1, 8)])
    assert [1, 2, 3] == [each.call.ask for each in log.read(False, 0, 3)]
    assert [4, 5, 6] == [each.call.ask for each in log.read(False, 3, 3)]
    assert [7] == [each.call.ask for each in log.read(False, 6, 3)]
    assert [] == log.read(False, 7, 3)


def test_what_has_a_receipt_is_passed_over_and_the_number_is_full_all_the_same(db: StateDb, log: SqliteLog) -> None:
    calls = [call(ask) for ask in range(1, 101)]
    append(db, calls)
    log.write(Writing(receipts=[delivered(each) for each in calls if each.ask % 10])).result()
    assert [10, 20, 30] == [each.call.ask for each in log.read(False, 0, 3)]
    assert [40, 50, 60, 70, 80, 90, 100] == [each.call.ask for each in log.read(False, 30, 10)]


def test_what_is_on_its_way_to_the_disk_is_passed_over_at_once(db: StateDb, log: SqliteLog) -> None:
    calls = [call(ask) for ask in range(1, 2_001)]
    append(db, calls)
    for each in calls[::2]:
        log.write(Writing(receipts=[delivered(each)]))
        assert each.ask not in [found.call.ask for found in log.read(False, each.ask - 1, 2)]
    assert [each.ask for each in calls[1::2]] == asks_in(log)


def replaced_in(log: Log) -> dict[int, tuple[bool, bool]]:
    """`replaced` and `late` of the calls that wait, by ask."""
    found = (*log.read(False, 0, 1_000), *log.read(True, 0, 1_000))
    return {each.call.ask: (each.replaced, each.late) for each in found}


def test_what_a_newer_call_takes_the_place_of_is_known(db: StateDb, log: SqliteLog) -> None:
    append(db, [call(1), call(2, replaces=1), call(3, replaces=2, not_before=time.time() + 60)])
    append(db, [call(4, backfill=True), call(5, replaces=4), call(6), call(7, replaces=6, backfill=True)])
    found = replaced_in(log)
    assert [1, 4] == [ask for ask, (replaced, _) in sorted(found.items()) if replaced], "what goes later takes no place"
    assert not any(late for _, late in found.values())
    log.write(Writing(receipts=[delivered(call(2)), delivered(call(7))])).result()
    assert [1, 6] == [ask for ask, (_, late) in sorted(replaced_in(log).items()) if late]
    with db.portion() as transaction:
        transaction.free(NUMBER, [1, 2, 4, 6])
    append(db, [call(8, replaces=2)])
    assert [] == db.rows("SELECT ask FROM replaced"), "nothing takes the place of what is not there any more"


@pytest.mark.parametrize("seed", range(20))
def test_the_log_of_the_senders_tests_says_the_same_of_what_is_replaced(db: StateDb, log: SqliteLog, seed: int) -> None:
    random, memory = Random(seed), MemoryLog()
    for ask in range(1, 60):
        before = random.choice([0, *range(max(1, ask - 5), ask)])
        later = random.choice([0.0, 0.0, 0.0, time.time() + 60])
        made = call(ask, replaces=before, backfill=random.random() < 0.4, not_before=later)
        append(db, [made])
        memory.append(made)
        if random.random() < 0.4:
            settled = delivered(memory.calls[random.choice(sorted(memory.calls.keys() - memory.receipts.keys()))])
            for each in (log, memory):
                each.write(Writing(receipts=[settled])).result()
        assert replaced_in(memory) == replaced_in(log)


def test_a_directory_of_before_learns_which_calls_are_replaced(db: StateDb) -> None:
    append(db, [call(1), call(2, replaces=1)])
    with closing(sqlite3.connect(db.folder / NAME)) as before:
        before.execute("DROP TABLE replaced")
    with opened_log(db.folder) as log:  # as `--bootstrap DIR` does, which changes nothing there
        assert {1: (False, False), 2: (False, False)} == replaced_in(log)
    with StateDb.use(db.folder) as again, opened_log(db.folder) as log:
        append(again, [call(3, replaces=2)])
        assert {1: (False, False), 2: (True, False), 3: (False, False)} == replaced_in(log)


def test_a_decider_may_append_and_free_while_a_sender_reads(db: StateDb, log: SqliteLog) -> None:
    append(db, [call(1), call(2)])
    assert [1, 2] == asks_in(log)
    log.write(Writing(receipts=[delivered(call(1))])).result()
    fold(db)
    append(db, [call(3)])
    assert [2, 3] == asks_in(log)
    assert call(1).ask == (log.receipt(1) or pytest.fail("forgotten")).ask


def test_the_newest_workspace_is_known(db: StateDb, log: SqliteLog) -> None:
    with db.portion() as portion:
        portion.registry(b"packed", 7)
    assert (7, b"packed") == (log.workspace(), db.registry())


# -- writing


def test_everything_that_is_written_is_there_when_the_log_is_opened_again(db: StateDb) -> None:
    append(db, [call(1), call(2), call(3)])
    receipt = delivered(call(1))
    with opened_log(db.folder) as log:
        log.write(
            Writing(
                marks={2: Mark(5.5, True, 7.5, "job-7"), 3: Mark(since=4.0)},
                receipts=[receipt],
                dead_letters=[(1, letter("refused", connection=HOOK, payload={"profile_id": "p1"}))],
                facts={"lists": {"vip": 7}, "gone": 1},
            )
        )
        log.write(Writing(facts={"gone": None}))
    with opened_log(db.folder) as log:
        waiting = [Waiting(call(2), Mark(5.5, True, 7.5, "job-7")), Waiting(call(3), Mark(4.0, False, 0.0))]
        assert waiting == log.read(False, 0, 9)
        assert (receipt, {"lists": {"vip": 7}}) == (log.receipt(1), log.facts())
    receipts = Receipts(db.folder, HOOK)
    assert [receipt] == [told.receipt for told in receipts.after(0, 10)]
    assert [(1, letter("refused", connection=HOOK, payload={"profile_id": "p1"}))] == [*receipts.letters()]
    assert (1, {"delivered": 1}, True) == (newest_letter(db.folder, HOOK), receipts.counters(), receipts.acknowledged())
    receipts.close()


def test_a_mark_is_durable_when_its_future_is_done(db: StateDb, log: SqliteLog) -> None:
    append(db, [call(1)])
    log.write(Writing(marks={1: Mark(maybe=True)})).result()
    copyfile(path_of(db.folder, HOOK), db.folder / "copy.db")
    copyfile(f"{path_of(db.folder, HOOK)}-wal", db.folder / "copy.db-wal")
    copy = sqlite3.connect(db.folder / "copy.db")
    assert [(1, 0.0, 1, 0.0, "")] == copy.execute("SELECT * FROM marks").fetchall()
    copy.close()


def test_an_empty_mark_takes_it_back_and_a_receipt_ends_it(db: StateDb, log: SqliteLog) -> None:
    append(db, [call(1), call(2)])
    log.write(Writing(marks={1: Mark(maybe=True), 2: Mark(maybe=True)}))
    log.write(Writing(marks={1: Mark()}, receipts=[delivered(call(2))])).result()
    assert {} == marks_in(db.folder)


def test_receipts_stand_in_the_order_in_which_they_were_written(db: StateDb, log: SqliteLog) -> None:
    order = Random(1).sample(range(1, 1_001), 1_000)
    futures = [log.write(Writing(receipts=[delivered(call(ask))])) for ask in order]
    for done in futures:
        done.result()
    receipts = Receipts(db.folder, HOOK)
    told = receipts.after(0, 10_000)
    assert (order, [*range(1, 1_001)]) == ([each.receipt.ask for each in told], [each.position for each in told])
    assert order[600:700] == [each.receipt.ask for each in receipts.after(600, 100)]
    receipts.close()


def test_receipts_are_counted_by_fate_without_those_of_cancels(db: StateDb, log: SqliteLog) -> None:
    log.write(Writing(receipts=[delivered(call(1)), delivered(cancel(2))]))
    log.write(Writing(receipts=[delivered(call(3))])).result()
    receipts = Receipts(db.folder, HOOK)
    assert {"delivered": 2} == receipts.counters()
    receipts.close()


def test_reads_and_writes_from_several_threads_agree(db: StateDb, log: SqliteLog) -> None:
    """Nothing that was settled is read again, whatever is written meanwhile."""
    calls = [call(ask) for ask in range(1, 3_001)]
    append(db, calls)
    wrong: list[int] = []
    settled: set[int] = set()

    def settle_all() -> None:
        for each in calls:
            log.write(Writing(marks={each.ask + 1: Mark(maybe=True)}, receipts=[delivered(each)]))
            settled.add(each.ask)

    writer = Thread(target=settle_all)
    writer.start()
    while writer.is_alive():
        before = settled.copy()
        wrong += before & {each.call.ask for each in log.read(False, 0, 50)}
    writer.join()
    assert ([], []) == (wrong, asks_in(log))


# -- a disk that refuses


def fill_log(folder: Path) -> tuple[list[str], list[int], str]:
    with StateDb.use(folder) as db:
        log = SqliteLog(folder, HOOK, NUMBER)
        log.write(Writing(marks={1: Mark(maybe=True)})).result()
        no_file_longer_than(path_of(folder, HOOK).with_name(f"{HOOK}.db-wal").stat().st_size + 40_000)
        told = []
        for ask in range(1, 40):
            facts = {"big": "x" * 10_000 * ask}
            done = log.write(Writing(facts=facts if ask < 30 else {}, receipts=[delivered(call(ask))]))
            error = done.exception()
            told.append(f"OSError: {error}" if isinstance(error, OSError) else str(error or ""))
        waits = asks_in(log)
        try:
            log.close()
        except OSError as error:
            return told, waits, str(error)
        del db
        return told, waits, ""


def test_what_could_not_be_written_is_said_and_followed_by_nothing(db: StateDb) -> None:
    append(db, [call(ask) for ask in range(1, 40)])
    told, waits, _ = result_of(fill_log, db.folder)
    first = next(ask for ask, words in enumerate(told, 1) if words)
    path = path_of(db.folder, HOOK)
    assert {told[first - 1]} == {*told[first - 1 :]}
    assert f"OSError: {path}: the disk refuses it (" in told[first - 1]
    assert "make room or set its permissions, then run again" in told[first - 1]
    assert [*range(first, 40)] == waits
    with opened_log(db.folder) as log:
        assert [*range(first, 40)] == asks_in(log)


def test_a_fault_in_what_is_written_is_heard_of(log: SqliteLog) -> None:
    with pytest.raises(OSError, match="TypeError"):
        log.write(Writing(facts={"odd": object()})).result()


def test_a_file_that_is_replaced_while_it_is_written_is_noticed(db: StateDb, log: SqliteLog) -> None:
    path = path_of(db.folder, HOOK)
    path.rename(path.with_name("away"))
    copyfile(path.with_name("away"), path)
    with pytest.raises(OSError, match="it was replaced while it was written"):
        log.write(Writing(marks={1: Mark(maybe=True)})).result()


# -- what waits


def count(db: StateDb) -> tuple[int, bool]:
    """By looking at everything."""
    receipts = Receipts(db.folder, HOOK)
    settled = {told.receipt.ask for told in receipts.after(0, 1_000_000)}
    receipts.close()
    rows = [row for row in db.rows("SELECT ask, slot FROM calls WHERE connection = 0") if row[0] not in settled]
    return sum(slot != 0 for _, slot in rows), bool(rows)


@pytest.mark.parametrize("seed", range(12))
def test_what_waits_is_known_without_counting_and_is_what_counting_says(folder: Path, seed: int) -> None:
    random, calls = Random(seed), list[Call]()
    with StateDb.use(folder, make=True) as db:
        for _ in range(25):
            match random.randrange(4):
                case 0 | 1:
                    last = calls[-1].ask if calls else 0
                    new = [random.choice([cancel, call])(last + each) for each in range(1, random.randrange(2, 9))]
                    append(db, new)
                    calls += new
                case 2:
                    left = [each for each in calls if each.ask in all_asks(db)]
                    settle(folder, random.sample(left, random.randrange(len(left) + 1)))
                case _:
                    fold(db, most=random.randrange(1, 9))
            expected = count(db)
            assert expected == (waiting(folder, HOOK, NUMBER), unsettled(folder, HOOK, NUMBER))
            assert expected == (waiting(folder, HOOK, NUMBER, quickly=True), unsettled(folder, HOOK, NUMBER))


def all_asks(db: StateDb) -> set[int]:
    """Of calls without a receipt."""
    with opened_log(db.folder) as log:
        return {*asks_in(log)}


def test_what_is_behind_an_ask_is_known(db: StateDb) -> None:
    append(db, [call(1), call(2, backfill=True), call(3)])
    settle(db.folder, [call(3)])
    assert [True, True, False] == [unsettled(db.folder, HOOK, NUMBER, after) for after in (0, 1, 2)]
    append(db, [cancel(4)])
    assert unsettled(db.folder, HOOK, NUMBER, 2)


def test_without_a_file_of_the_connection_all_waits(db: StateDb) -> None:
    assert (0, False) == (waiting(db.folder, HOOK, NUMBER), unsettled(db.folder, HOOK, NUMBER))
    append(db, [call(1), cancel(2)])
    path_of(db.folder, HOOK).unlink()
    assert (1, True) == (waiting(db.folder, HOOK, NUMBER), unsettled(db.folder, HOOK, NUMBER))
    assert not path_of(db.folder, HOOK).exists()


# -- other copies


def maybes(folder: Path) -> dict[int, bool]:
    with opened_log(folder) as log:
        return {each.call.ask: each.mark.maybe for each in log.read(False, 0, 1_000)}


def test_calls_of_a_log_that_is_as_it_was_left_were_not_sent(db: StateDb) -> None:
    append(db, [call(1), call(2)])
    assert {1: False, 2: False} == maybes(db.folder)
    mark(db.folder, call(1))
    settle(db.folder, [call(2)])
    fold(db)
    append(db, [call(3)])
    assert {1: True, 3: False} == maybes(db.folder)


def test_a_file_that_was_lost_leaves_a_doubt(db: StateDb) -> None:
    append(db, [call(1), call(2)])
    settle(db.folder, [call(1)])
    for path in path_of(db.folder, HOOK).parent.iterdir():
        path.unlink()
    assert {1: True, 2: True} == maybes(db.folder)
    fold(db)
    append(db, [call(3)])
    assert {1: True, 2: True, 3: False} == maybes(db.folder)


@pytest.mark.parametrize("keeping_times", [False, True])
def test_an_older_copy_leaves_a_doubt(db: StateDb, keeping_times: bool) -> None:
    """Also where the state cannot know: it had folded nothing of what is lost."""
    append(db, [call(1), call(2), call(3)])
    settle(db.folder, [call(1)])
    fold(db)
    path = path_of(db.folder, HOOK)
    (copy2 if keeping_times else copyfile)(path, db.folder / "copy")
    settle(db.folder, [call(2)])
    (copy2 if keeping_times else copyfile)(db.folder / "copy", path)  # in place: the inode stays
    assert {2: True, 3: True} == maybes(db.folder)
    assert [] == fold(db), "what both have in common is folded"
    append(db, [call(4)])
    assert {2: True, 3: True, 4: False} == maybes(db.folder)
    settle(db.folder, [call(2)])  # at the place at which it stood in the copy that is gone
    assert [2] == [receipt.ask for receipt in fold(db)]


def test_marks_know_of_the_doubt(db: StateDb) -> None:
    append(db, [call(1), call(2)])
    with opened_log(db.folder) as log:
        log.write(Writing(marks={1: Mark(since=5.0, until=6.0)}))
    Trace(path_of(db.folder, HOOK)).forget()
    with opened_log(db.folder) as log:
        assert [Mark(5.0, True, 6.0), Mark(0.0, True, 0.0)] == [each.mark for each in log.read(False, 0, 10)]


def test_a_state_older_than_the_receipts_that_are_kept_leaves_a_doubt(folder: Path) -> None:
    with StateDb.use(folder, make=True) as db:
        append(db, [call(ask) for ask in range(1, 6)])
    copyfile(folder / NAME, folder / "copy")
    with StateDb.use(folder) as db:
        settle(folder, [call(1), call(2), call(3)], at=time.time() - RECEIPTS_KEPT - 10)
        fold(db)
        assert {4: False, 5: False} == maybes(folder)  # and when it was closed, what is old was forgotten
    copyfile(folder / "copy", folder / NAME)
    with StateDb.use(folder) as db:
        assert {1: True, 2: True, 4: True, 5: True} == maybes(folder)
        assert [3] == [receipt.ask for receipt in fold(db)]


def test_a_writer_that_was_killed_is_no_doubt(db: StateDb) -> None:
    append(db, [call(1), call(2)])
    with process(mark_and_wait, db.folder, 1) as running:
        wait_for(lambda: (db.folder / "marked").exists())
        running.kill()
    assert {1: True, 2: False} == maybes(db.folder)


def test_what_lay_beside_the_file_when_its_writer_was_killed_may_not_go(db: StateDb) -> None:
    append(db, [call(1), call(2)])
    with process(mark_and_wait, db.folder, 1) as running:
        wait_for(lambda: (db.folder / "marked").exists())
        running.kill()
    path_of(db.folder, HOOK).with_name(f"{HOOK}.db-wal").unlink()
    assert {1: True, 2: True} == maybes(db.folder)


def mark_and_wait(folder: Path, ask: int) -> None:
    log = SqliteLog(folder, HOOK, NUMBER)
    log.write(Writing(marks={ask: Mark(maybe=True)})).result()
    (folder / "marked").touch()
    time.sleep(60)


def wait_for(what: Callable[[], bool]) -> None:
    until = time.monotonic() + 20
    while not what():
        assert time.monotonic() < until
        time.sleep(0.01)


# -- what is forgotten


def test_receipts_that_were_folded_long_ago_are_forgotten_and_the_last_is_kept(db: StateDb) -> None:
    calls = [call(ask) for ask in range(1, 11)]
    append(db, calls)
    long_ago = time.time() - RECEIPTS_KEPT - 10
    settle(db.folder, calls[:4], at=long_ago)
    fold(db)
    settle(db.folder, calls[4:6], at=long_ago)
    with opened_log(db.folder) as log:
        assert [None] * 3 == [log.receipt(ask) for ask in (1, 2, 3)]
        assert None not in [log.receipt(ask) for ask in (4, 5, 6)]
    assert (4, True) == (waiting(db.folder, HOOK, NUMBER, quickly=True), unsettled(db.folder, HOOK, NUMBER))
    assert [5, 6] == [receipt.ask for receipt in fold(db)]
    settle(db.folder, [])
    settle(db.folder, calls[6:])
    assert (0, False) == (waiting(db.folder, HOOK, NUMBER, quickly=True), unsettled(db.folder, HOOK, NUMBER))


def test_however_many_receipts_are_old_they_are_forgotten(db: StateDb, monkeypatch: pytest.MonkeyPatch) -> None:
    """A portion at a time, and the next one soon: a service may settle more in an hour than one portion has."""
    monkeypatch.setattr(module, "_FORGET", 2)
    monkeypatch.setattr(module, "_REST", 0.0)
    calls = [call(ask) for ask in range(1, 11)]
    append(db, calls)
    with opened_log(db.folder) as log:
        settle(db.folder, calls[:8], at=time.time() - RECEIPTS_KEPT - 10)
        fold(db)
        for _ in range(8):
            log.write(Writing(facts={"any": 1})).result()
        assert [None] * 7 == [log.receipt(ask) for ask in range(1, 8)]


def test_a_receipt_is_not_forgotten_before_an_earlier_one(db: StateDb) -> None:
    """Or what is folded anew would end with an older value."""
    append(db, [call(1), call(2), call(3)])
    settle(db.folder, [call(1)])
    settle(db.folder, [call(2)], at=time.time() - RECEIPTS_KEPT - 10)
    settle(db.folder, [call(3)])
    fold(db)
    settle(db.folder, [])
    receipts = Receipts(db.folder, HOOK)
    assert [1, 2, 3] == [told.receipt.ask for told in receipts.after(0, 10)]
    receipts.close()


def test_letters_are_kept_for_replay_and_then_forgotten(db: StateDb) -> None:
    with opened_log(db.folder) as log:
        log.write(Writing(dead_letters=[(1, letter(payload={})), (2, letter(payload={}))])).result()
        log._writer.execute("UPDATE letters SET at = at - ? WHERE ask = 1", (LETTERS_KEPT + 10,))
    receipts = Receipts(db.folder, HOOK)
    assert [2] == [ask for ask, _ in receipts.letters()]
    assert [] == [*receipts.letters(after=2)]
    assert [] == [*receipts.letters(since=time.time() + 10)]
    receipts.close()


# -- files


def test_a_reader_never_sees_a_file_that_is_being_made(db: StateDb) -> None:
    with process(make_many, db.folder):
        for number in range(30):
            wait_for(lambda number=number: counters(db.folder, number) == {} and made(db.folder, number))  # type: ignore[misc]


def make_many(folder: Path) -> None:
    for number in range(30):
        make(folder, f"c{number}")


def made(folder: Path, number: int) -> bool:
    return path_of(folder, f"c{number}").exists()


def counters(folder: Path, number: int) -> dict[str, int]:
    with closing(Receipts(folder, f"c{number}")) as receipts:
        return receipts.counters()


def test_of_two_that_make_a_file_at_once_one_does(db: StateDb) -> None:
    found: list[bytes] = []
    threads = [Thread(target=lambda: found.append(make(db.folder, HOOK))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (8, 1) == (len(found), len({*found}))


def test_a_connection_that_was_renamed_keeps_its_receipts_marks_and_letters(db: StateDb) -> None:
    append(db, [call(1), call(2), call(3)])
    mark(db.folder, call(1))
    settle(db.folder, [call(2)])
    rename(db.folder, {HOOK: "new.name"})
    rename(db.folder, {HOOK: "new.name"})  # after a crash, once more
    with opened_log(db.folder, "new.name") as log:
        assert [(1, True), (3, False)] == [(each.call.ask, each.mark.maybe) for each in log.read(False, 0, 10)]
    assert [2] == [receipt.ask for receipt in fold(db, "new.name")]
    assert not path_of(db.folder, HOOK).exists()


def test_what_a_killed_sender_left_beside_goes_with_a_renamed_connection(db: StateDb) -> None:
    append(db, [call(1), call(2)])
    with process(mark_and_wait, db.folder, 1) as running:
        wait_for(lambda: (db.folder / "marked").exists())
        running.kill()
    rename(db.folder, {HOOK: "new"})
    with opened_log(db.folder, "new") as log:
        assert [(1, True), (2, False)] == [(each.call.ask, each.mark.maybe) for each in log.read(False, 0, 10)]


def test_somebody_may_have_the_file_of_a_renamed_connection_open(db: StateDb) -> None:
    append(db, [call(1), call(2)])
    with closing(Receipts(db.folder, HOOK)) as reader:
        assert [] == reader.after(0, 10)
        settle(db.folder, [call(1)])
        rename(db.folder, {HOOK: "new"})
        with opened_log(db.folder, "new") as log:
            assert [2] == asks_in(log)
            log.write(Writing(receipts=[delivered(call(2))]))
    assert [1, 2] == [receipt.ask for receipt in fold(db, "new")]


def test_a_doubt_goes_with_a_renamed_connection(db: StateDb) -> None:
    append(db, [call(1)])
    settle(db.folder, [])
    Trace(path_of(db.folder, HOOK)).forget()
    rename(db.folder, {HOOK: "new"})
    with opened_log(db.folder, "new") as log:
        assert [True] == [each.mark.maybe for each in log.read(False, 0, 10)]


def test_a_connection_that_is_delivered_is_not_renamed(db: StateDb) -> None:
    make(db.folder, HOOK)
    with log_lease(db.folder, HOOK), pytest.raises(Busy, match=r"hook: process \d+ on .* delivers it"):
        rename(db.folder, {HOOK: "new"})
    assert path_of(db.folder, HOOK).exists()


def test_a_new_name_that_was_used_before_is_refused(db: StateDb) -> None:
    make(db.folder, HOOK)
    make(db.folder, "new")
    with pytest.raises(StoreError, match="it is of a connection that had this name before; give hook another new name"):
        rename(db.folder, {HOOK: "new"})


def test_a_connection_without_a_file_may_be_renamed(db: StateDb) -> None:
    rename(db.folder, {HOOK: "new"})
    assert not path_of(db.folder, "new").exists()


def test_a_name_may_go_from_one_to_the_next(db: StateDb) -> None:
    ids = {name: make(db.folder, name) for name in ("one", "two")}
    rename(db.folder, {"one": "two", "two": "three"})
    assert ids["one"] == make(db.folder, "two")
    assert ids["two"] == make(db.folder, "three")


def test_nothing_is_renamed_while_one_of_them_is_delivered(db: StateDb) -> None:
    for name in ("one", "two"):
        make(db.folder, name)
    with log_lease(db.folder, "two"), pytest.raises(Busy):
        rename(db.folder, {"one": "first", "two": "second"})
    assert path_of(db.folder, "one").exists()


# -- attempts that came to nothing


def attempts(folder: Path) -> dict[int, list[tuple[float, int, str]]]:
    """As they stand in the file, by ask."""
    found: dict[int, list[tuple[float, int, str]]] = {}
    with closing(sqlite3.connect(path_of(folder, HOOK))) as database:
        for ask, *attempt in database.execute("SELECT ask, at, status, words FROM attempts ORDER BY ask, at"):
            found.setdefault(ask, []).append(tuple(attempt))
    return found


def test_the_last_attempts_of_each_call_are_kept_over_processes(db: StateDb) -> None:
    append(db, [call(1), call(2)])
    now = float(int(time.time()))
    for began in (0, 3):
        with opened_log(db.folder) as log:
            for n in range(began, began + 3):
                log.write(Writing(failed=[(1, Attempt(now + n, 503, f"no {n}"))])).result()
    with opened_log(db.folder) as log:
        log.write(Writing(failed=[(ask, Attempt(now + 9, 0, "hung up")) for ask in (1, 2)])).result()
    last = [(now + 4, 503, "no 4"), (now + 5, 503, "no 5"), (now + 9, 0, "hung up")]
    assert {1: last, 2: last[2:]} == attempts(db.folder)


def test_attempts_are_forgotten_as_receipts_are(db: StateDb) -> None:
    append(db, [call(1)])
    now = time.time()
    with opened_log(db.folder) as log:
        old, new = now - RECEIPTS_KEPT - 60, now - RECEIPTS_KEPT + 600
        log.write(Writing(failed=[(1, Attempt(old, 503, "long ago")), (1, Attempt(new, 503, "lately"))])).result()
    assert ["lately"] == [words for _, _, words in attempts(db.folder)[1]]


def test_a_file_that_is_older_has_none_until_somebody_sends(db: StateDb) -> None:
    append(db, [call(1)])
    make(db.folder, HOOK)
    with opened_log(db.folder):
        pass
    with closing(sqlite3.connect(path_of(db.folder, HOOK))) as database:
        database.execute("DROP TABLE attempts")
    with opened_log(db.folder) as log:
        log.write(Writing(failed=[(1, Attempt(time.time(), 500, "oops"))])).result()
    assert [1] == [*attempts(db.folder)]
