"""The state directory: what it is, who may use it, and that a portion is whole or not there."""

import os
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from random import Random
from shutil import copyfile

import pytest

from pipeline.disk import StoreError
from pipeline.log import Receipts
from pipeline.state_db import LETTERS_KEPT, NAME, NoState, StateDb
from schemas.state import FORMAT, OLDEST, decode_profile
from tests.pipeline.stores import (
    NUMBER,
    append,
    call,
    cancel,
    delivered,
    files,
    fold,
    letter,
    no_file_longer_than,
    opened_log,
    result_of,
    settle,
    without_rights,
)
from transforms.sending.log import Writing

STORED = Path(__file__).parents[1] / "data" / "stored"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "state"


@pytest.fixture
def db(folder: Path) -> Iterator[StateDb]:
    with StateDb.use(folder, make=True) as db:
        yield db


# -- what the directory is


def test_without_a_state_the_run_is_told_how_to_make_one(folder: Path) -> None:
    with pytest.raises(NoState) as told, StateDb.use(folder):
        pass
    assert str(told.value) == (
        f"{folder}: there is no state here. Is the path right? To begin anew, which tells everybody everything once, "
        "add --new-state"
    )
    assert not folder.exists()


def test_a_new_state_is_for_the_eyes_of_its_owner(folder: Path, db: StateDb) -> None:
    append(db, [call(1)])
    settle(folder, [call(1)])
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in [folder, *folder.rglob("*")]}
    assert {"state", "sent"} == {name for name, mode in modes.items() if mode == 0o700}
    assert {0o600, 0o700} == set(modes.values())


def test_a_mode_of_the_process_does_not_change_by_it(folder: Path) -> None:
    before = os.umask(0o022)
    try:
        with StateDb.use(folder, make=True) as db:
            append(db, [call(1)])
        assert 0o022 == os.umask(0o022)
    finally:
        os.umask(before)


def test_new_state_where_nothing_was_decided_yet_opens_it(folder: Path, db: StateDb) -> None:
    db.bind("shop", "")
    with StateDb.use(folder, make=True) as again:
        assert "shop" == again.meta("workspace")


def test_what_was_half_made_is_made_again(folder: Path) -> None:
    folder.mkdir()
    (folder / f"{NAME}.new").write_bytes(b"half")
    (folder / f"{NAME}.new-journal").write_bytes(b"half")
    (folder / f"{NAME}-wal").write_bytes(b"of a state that was removed")
    with StateDb.use(folder, make=True) as db:
        assert 0 == db.subjects()
    assert ["sent", NAME] == sorted(path.name for path in folder.iterdir())


def test_a_file_is_no_place_for_a_state(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=f"^{tmp_path}/file: it is a file; --state needs a folder$"):
        StateDb.create(tmp_path / "file" / "state")


@pytest.mark.parametrize("make", [False, True])
@pytest.mark.parametrize("old", ["current", "snapshots"])
def test_a_directory_of_version_1_is_refused(folder: Path, old: str, make: bool) -> None:
    (folder / old).mkdir(parents=True)
    with pytest.raises(StoreError) as told, StateDb.use(folder, make=make):
        pass
    assert str(told.value) == (
        f"{folder}: it is of version 1 of profilecast, which kept its state in another form. Finish what waits there "
        "with that version, or begin anew: another folder and --new-state, which tells everybody everything once"
    )
    assert [old] == [path.name for path in folder.iterdir()]


@pytest.mark.parametrize("written", [1, 2, OLDEST - 1, FORMAT + 1, "two", None])
def test_another_format_is_refused(folder: Path, db: StateDb, written: object) -> None:
    with db.transaction() as database:
        database.execute("UPDATE meta SET value = ? WHERE key = 'format'", (written,))
    with pytest.raises(StoreError) as told, StateDb.use(folder):
        pass
    assert str(told.value) == (
        f"{folder / NAME}: another version of profilecast wrote it (format {written}, this one reads {OLDEST} to "
        f"{FORMAT}); use that version, or begin anew in another folder with --new-state"
    )


def test_a_directory_of_format_4_is_read_as_it_is_and_has_today_s_format_once_it_is_opened_to_write(
    folder: Path, db: StateDb
) -> None:
    """An older version cannot read the states that are written then: it has to refuse the directory."""
    state = (STORED / "profile.bin").read_bytes()
    with db.portion() as transaction:
        transaction.put({"ana": state})
    with db.transaction() as database:
        database.execute("UPDATE meta SET value = 4 WHERE key = 'format'")
    for to_read, written in ((True, 4), (False, FORMAT), (True, FORMAT)):
        with closing(StateDb.open(folder, to_read)) as opened:
            assert ({"ana": state}, written) == (opened.get(["ana"]), opened.meta("format"))
            assert ["ana"] == [name for name, packed in opened.get(["ana"]).items() if decode_profile(packed).ids]


# -- whose it is


def test_it_belongs_to_the_first_workspace_and_gateway(db: StateDb) -> None:
    db.bind("shop", "http://127.0.0.1:8000")
    db.bind("shop", "http://127.0.0.1:8000")
    with pytest.raises(StoreError, match=r"it belongs to the workspace 'shop', this run is for the workspace 'other'"):
        db.bind("other", "http://127.0.0.1:8000")


def test_a_sandbox_and_the_real_vendors_never_share_one(db: StateDb) -> None:
    db.bind("shop", "http://127.0.0.1:8000")
    with pytest.raises(StoreError) as told:
        db.bind("shop", "")
    assert str(told.value) == (
        f"{db.folder}: it belongs to the gateway http://127.0.0.1:8000, this run is for the vendors themselves (no "
        "--gateway); give each its own --state (--new-state makes one)"
    )


def test_of_two_first_runs_at_once_one_is_refused(db: StateDb) -> None:
    class Late(StateDb):
        """Looks, and is overtaken."""

        def transaction(self):  # type: ignore[no-untyped-def]
            db.bind("shop", "")
            return super().transaction()

    with StateDb.use(db.folder) as other, pytest.raises(StoreError, match="this run is for the gateway http://sandbox"):
        Late(db.folder, other._db).bind("shop", "http://sandbox")
    assert ("shop", "") == (db.meta("workspace"), db.meta("gateway"))


# -- portions


def test_a_portion_is_whole_or_not_there(db: StateDb) -> None:
    db.folder.joinpath("sent").mkdir(exist_ok=True)

    def broken() -> None:
        with db.portion() as portion:
            portion.put({"ana": b"1"})
            portion.append(NUMBER, [call(1)])
            portion.letters("run", [letter()])
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        broken()
    assert (0, 0, []) == (db.subjects(), db.made(NUMBER), [*db.letters()])
    with db.portion() as portion:
        portion.put({"ana": b"1", "bob": b"2"})
        portion.append(NUMBER, [call(1), cancel(2)])
    assert (2, 1) == (db.subjects(), db.made(NUMBER))


def test_states_are_put_got_and_dropped(db: StateDb) -> None:
    states = {f"p{number:04}": b"%d" % number for number in range(1_200)}
    with db.portion() as portion:
        portion.put(states)
        portion.put({"p0001": b"other", "\x00tombstone": b""})
        assert {"p0001": b"other"} == db.get(["p0001"])
    assert {**states, "p0001": b"other"} == db.get([*states, "nobody"])
    assert 1_200 == db.subjects()
    with db.portion() as portion:
        portion.drop(["p0000", "nobody"])
    assert (1_199, ["p0001", "p0002"]) == (db.subjects(), db.names("\x01", 2))
    assert ["p1199"] == db.names("p1198", 5)


@pytest.mark.parametrize("seed", range(5))
def test_profiles_are_counted_as_they_come_and_go(db: StateDb, seed: int) -> None:
    random, names = Random(seed), [*"abcdefgh", "\x00a", "\x00b", "\x01"]
    for _ in range(30):
        with db.portion() as portion:
            portion.put({name: random.randbytes(2) for name in random.sample(names, random.randrange(6))})
            portion.drop(random.sample(names, random.randrange(4)))
        assert sum(name >= "\x01" for name in db.names("", 100)) == db.subjects()


def test_how_far_receipts_are_folded_is_remembered_with_their_file(db: StateDb) -> None:
    with db.portion() as portion:
        portion.folded(3, b"one", 7)
    assert ((b"one", 7), None) == (db.folded(3), db.folded(4))


def test_calls_are_freed_whatever_they_are_and_those_that_are_not_there(db: StateDb) -> None:
    append(db, [call(1), call(2, backfill=True), cancel(3), call(4), cancel(5)])
    with db.portion() as portion:
        portion.free(NUMBER, [1, 2, 3, 77])
        portion.free(NUMBER, [])
    assert (3, [(1, 1)]) == (db.made(NUMBER), db.rows("SELECT calls, cancels FROM counters"))
    assert [(4,), (5,)] == db.rows("SELECT ask FROM calls ORDER BY ask")


# -- numbers of asks


def asks(db: StateDb, number: int) -> list[int]:
    """Given, and in the log."""
    with db.portion() as portion:
        numbers = portion.asks()
        given = [next(numbers) for _ in range(number)]
        portion.append(NUMBER, [call(ask) for ask in given])
    return given


def test_asks_grow(db: StateDb) -> None:
    given = [ask for _ in range(5) for ask in asks(db, 50)]
    assert sorted(set(given)) == given


def test_asks_grow_though_the_clock_was_ahead(db: StateDb) -> None:
    ahead = (int(time.time()) + 86_400) * 1_000_000
    append(db, [call(ahead)])
    assert [ahead + 1, ahead + 2] == asks(db, 2)


def test_asks_are_not_given_twice_when_an_older_copy_is_put_back(folder: Path) -> None:
    with StateDb.use(folder, make=True) as db:
        first = asks(db, 10)
    copyfile(folder / NAME, folder / "copy")
    with StateDb.use(folder) as db:
        lost = asks(db, 1_000)
    copyfile(folder / "copy", folder / NAME)
    with StateDb.use(folder) as db:
        again = asks(db, 10)
    assert not {*again} & {*first, *lost}
    assert max(lost) < min(again)


# -- dead letters


def test_letters_are_found_by_run_and_time_oldest_first(db: StateDb) -> None:
    many = [letter(line=number) for number in range(1_200)]
    with db.portion() as portion:
        portion.letters("one", many)
        portion.letters("two", [letter("empty_id")])
    assert many == [*db.letters("one")]
    assert [letter("empty_id")] == [*db.letters("two")]
    assert 1_201 == len([*db.letters()])
    assert [] == [*db.letters(since=time.time() + 10)]


def test_old_letters_are_forgotten_and_their_space_is_given_back(db: StateDb) -> None:
    with db.portion() as portion:
        portion.letters("one", [letter(payload="x" * 10_000) for _ in range(300)])
    pages = db.rows("PRAGMA page_count")[0][0]
    db.prune(time.time())
    assert 300 == len([*db.letters()])
    db.prune(time.time() + LETTERS_KEPT + 10)
    assert [] == [*db.letters()]
    assert db.rows("PRAGMA page_count")[0][0] < pages / 4


def test_what_is_forgotten_does_not_stay_in_the_file(folder: Path) -> None:
    with StateDb.use(folder, make=True) as db:
        with db.portion() as portion:
            portion.put({"ana": b"ana@secret.example" * 20})
        with db.portion() as portion:
            portion.drop(["ana"])
    assert b"secret" not in (folder / NAME).read_bytes()


def test_files_that_are_watched_are_remembered(db: StateDb) -> None:
    db.remember_files({"a": b"1", "b": b"2", "c": b"2"})
    db.remember_files({"a": b"3"}, gone=["c"])
    assert {"a": b"3", "b": b"2"} == db.files()


# -- damage


def whole(folder: Path) -> None:
    """A state with some of everything."""
    with StateDb.use(folder, make=True) as db:
        db.bind("shop", "")
        calls = [call(ask, traits={"name": "x" * 200}) for ask in range(1, 400)]
        append(db, calls)
        with db.portion() as portion:
            portion.put({f"p{number}": os.urandom(300) for number in range(400)})
            portion.letters("run", [letter(payload="x" * 100) for _ in range(100)])
        settle(folder, calls[:200])
        with opened_log(folder) as log:
            log.write(Writing(dead_letters=[(ask, letter(payload={})) for ask in range(100)], facts={"a": 1}))


def use_all(folder: Path) -> None:
    """Read everything that there is, and write."""
    with StateDb.use(folder) as db:
        db.bind("shop", "")
        names = db.names("", 10_000)
        db.get(names)
        db.files(), db.made(NUMBER), db.registry(), [*db.letters()]
        receipts = Receipts(folder, "hook")
        try:
            receipts.counters(), [*receipts.letters()]
        finally:
            receipts.close()
        fold(db)
        with opened_log(folder) as log:
            waiting = log.read(False, 0, 1_000_000)
            log.facts(), log.newest(), log.workspace(), log.waiting(), log.receipt(100)
            log.write(Writing(receipts=[delivered(each.call) for each in waiting])).result()
        fold(db)


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("keep", [0, 10, 100, 4_096, 8_192, 0.5, 0.9])
def test_a_truncated_file_is_named_with_what_to_do(folder: Path, which: int, keep: float) -> None:
    whole(folder)
    path = files(folder)[which]
    size = path.stat().st_size
    os.truncate(path, int(keep if keep > 1 or not keep else keep * size))
    with pytest.raises(StoreError) as told:
        use_all(folder)
    assert_helpful(told.value, path)


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("content", [b"", b"\x00" * 8_192, b"SQLite format 3\x00" + b"\xff" * 9_000, b"hello" * 5_000])
def test_another_file_in_its_place_is_named(folder: Path, which: int, content: bytes) -> None:
    whole(folder)
    path = files(folder)[which]
    path.write_bytes(content)
    with pytest.raises(StoreError) as told:
        use_all(folder)
    assert_helpful(told.value, path)


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("place", range(24))
def test_a_damaged_page_is_no_traceback(folder: Path, which: int, place: int) -> None:
    whole(folder)
    path = files(folder)[which]
    content = bytearray(path.read_bytes())
    begin = len(content) * place // 24
    content[begin : begin + 1_500] = b"\xa5" * len(content[begin : begin + 1_500])
    path.write_bytes(content)
    try:
        use_all(folder)
    except StoreError as told:
        assert_helpful(told, path)


def assert_helpful(told: StoreError, path: Path) -> None:
    words = str(told)
    assert words.startswith(f"{path}: "), words
    assert "put it back from a backup, or " in words or "another version of profilecast wrote it" in words
    assert "\n" not in words


# -- a disk that refuses


def fill_state(folder: Path) -> str:
    with StateDb.use(folder) as db:
        no_file_longer_than(200_000)
        try:
            for number in range(100):
                with db.portion() as portion:
                    portion.put({f"{number}-{each}": os.urandom(500) for each in range(100)})
        except StoreError as error:
            return str(error)
    return "it fits"


def test_a_full_disk_is_one_line_and_the_state_is_as_it_was(folder: Path, db: StateDb) -> None:
    with db.portion() as portion:
        portion.put({"ana": b"1"})
    told = result_of(fill_state, folder)
    assert told.startswith(f"{folder / NAME}: the disk refuses it (")
    assert "); make room or set its permissions, then run again" in told
    assert 1 == db.subjects() % 100
    with db.portion() as portion:
        portion.put({"bob": b"2"})
    assert {"ana": b"1", "bob": b"2"} == db.get(["ana", "bob"])


def told_without_rights(folder: Path, work: Callable[[Path], None]) -> str:
    without_rights()
    try:
        work(folder)
    except StoreError as error:
        return str(error)
    return "it may"


def write_one(folder: Path) -> None:
    with StateDb.use(folder) as db, db.portion() as portion:
        portion.put({"ana": b"1"})


def make_one(folder: Path) -> None:
    StateDb.create(folder / "new")


@pytest.fixture
def others(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder that everybody may enter."""
    folder = Path("/tmp") / f"profilecast-test-{os.getpid()}-{time.monotonic_ns()}"
    folder.mkdir(mode=0o755)
    yield folder
    for path in sorted(folder.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    folder.rmdir()


def test_what_may_only_be_read_is_one_line(others: Path) -> None:
    with StateDb.use(others / "state", make=True):
        pass
    for path in [others / "state", *(others / "state").rglob("*")]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    told = result_of(told_without_rights, others / "state", write_one)
    assert told.startswith(f"{others / 'state' / NAME}: the disk refuses it (")
    assert told.endswith("make room or set its permissions, then run again")


def test_a_folder_that_may_not_be_written_is_one_line(others: Path) -> None:
    told = result_of(told_without_rights, others, make_one)
    assert told == (
        f"{others / 'new' / NAME}: cannot be written: Permission denied; make room or set its permissions, then run "
        "again"
    )
