"""Leases: one decider, one sender of a connection, one process of a vendor account; a dead one's lease is free."""

import os
import re
import socket
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pipeline.disk import StoreError
from pipeline.leases import Busy, Kept, deciding, delivering
from tests.pipeline.stores import process, result_of, without_rights

ME = rf"process {os.getpid()} on {re.escape(socket.gethostname())} since \d{{4}}-\d\d-\d\d \d\d:\d\d:\d\dZ"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@contextmanager
def busy(words: str) -> Iterator[None]:
    with pytest.raises(Busy) as told:
        yield
    assert re.fullmatch(words, str(told.value)), told.value


def wait_for(what: Callable[[], bool]) -> None:
    until = time.monotonic() + 20
    while not what():
        assert time.monotonic() < until
        time.sleep(0.01)


# -- deciding


def test_one_decides_in_a_directory(tmp_path: Path) -> None:
    with deciding(tmp_path):
        with busy(rf"{tmp_path}: {ME} is deciding; run again when it is done"), deciding(tmp_path):
            pass
        with deciding(tmp_path / "other"):
            pass
    with deciding(tmp_path):
        pass


def test_who_failed_decides_no_more(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), deciding(tmp_path):
        raise ZeroDivisionError
    with deciding(tmp_path):
        pass


def hold_all(home: Path, folder: Path, group: str) -> None:
    os.environ["XDG_STATE_HOME"] = str(home)
    with deciding(folder):
        lease = delivering(folder, "hook", group)
        (folder / "held").touch()
        time.sleep(60)
        lease.release()


def test_another_process_is_named_and_a_dead_one_holds_nothing(tmp_path: Path, home: Path) -> None:
    with process(hold_all, home, tmp_path, "account") as running:
        wait_for(lambda: (tmp_path / "held").exists())
        other = ME.replace(str(os.getpid()), str(running.pid))
        with busy(rf"{tmp_path}: {other} is deciding; run again when it is done"), deciding(tmp_path):
            pass
        with busy(other):
            delivering(tmp_path, "hook", "another account")
        with busy(other):
            delivering(tmp_path, "second", "account")
        running.kill()
        running.join()
    with deciding(tmp_path):
        delivering(tmp_path, "hook", "account").release()


# -- delivering


def test_one_delivers_a_connection(tmp_path: Path) -> None:
    lease = delivering(tmp_path, "hook", "account")
    with busy(ME):
        delivering(tmp_path, "hook", "account")
    lease.release()
    delivering(tmp_path, "hook", "account").release()


def test_connections_of_one_process_share_a_vendor_account(tmp_path: Path, home: Path) -> None:
    """Until the last one lets go."""
    first, second = delivering(tmp_path, "one", "account"), delivering(tmp_path, "two", "account")
    first.release()
    assert "busy" == result_of(try_to_deliver, home, tmp_path, "three", "account")
    second.release()
    assert "free" == result_of(try_to_deliver, home, tmp_path, "three", "account")


def try_to_deliver(home: Path, folder: Path, connection: str, group: str) -> str:
    os.environ["XDG_STATE_HOME"] = str(home)
    try:
        delivering(folder, connection, group).release()
    except Busy:
        return "busy"
    return "free"


def test_a_vendor_account_is_one_over_all_directories_of_a_user(tmp_path: Path, home: Path) -> None:
    lease = delivering(tmp_path / "one", "hook", "account")
    assert "busy" == result_of(try_to_deliver, home, tmp_path / "two", "hook", "account")
    assert "free" == result_of(try_to_deliver, home, tmp_path / "two", "hook", "another")
    assert "free" == result_of(try_to_deliver, tmp_path / "of another user", tmp_path / "two", "hook", "account")
    lease.release()


def test_who_does_not_get_the_account_leaves_the_connection(tmp_path: Path, home: Path) -> None:
    with process(hold_all, home, tmp_path, "account"):
        wait_for(lambda: (tmp_path / "held").exists())
        with pytest.raises(Busy):
            delivering(tmp_path, "second", "account")
        delivering(tmp_path, "second", "another").release()


def test_locks_and_caps_are_for_the_eyes_of_their_owner(tmp_path: Path, home: Path) -> None:
    lease = delivering(tmp_path / "state", "hook", "account")
    lease.caps.save({"windows": []})
    with deciding(tmp_path / "state"):
        pass
    lease.release()
    made = [path for top in (tmp_path / "state", home / "profilecast" / "caps") for path in [top, *top.rglob("*")]]
    assert 7 == len(made)
    assert {0o600, 0o700} == {stat.S_IMODE(path.stat().st_mode) for path in made}


def test_a_state_home_that_is_no_absolute_path_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", "here")
    monkeypatch.setenv("HOME", str(tmp_path))
    delivering(tmp_path / "state", "hook", "account").release()
    assert [".lock"] == [path.suffix for path in (tmp_path / ".local/state/profilecast/caps").iterdir()]


# -- caps


def test_caps_are_kept_by_account_over_directories(tmp_path: Path) -> None:
    lease = delivering(tmp_path / "one", "hook", "account")
    assert {} == lease.caps.load()
    lease.caps.save({"windows": [[1.5, 3]]})
    lease.release()
    lease = delivering(tmp_path / "two", "other", "account")
    assert {"windows": [[1.5, 3]]} == lease.caps.load()
    lease.caps.save({})
    assert {} == lease.caps.load()
    lease.release()


def test_nothing_to_keep_leaves_no_file(tmp_path: Path) -> None:
    caps = Kept(tmp_path / "caps.json", "what was sent today is then not counted again")
    caps.save({})
    assert ({}, False) == (caps.load(), (tmp_path / "caps.json").exists())


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff"])
def test_damaged_caps_are_named_with_what_to_do(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "caps.json").write_bytes(content)
    with pytest.raises(StoreError) as told:
        Kept(tmp_path / "caps.json", "what was sent today is then not counted again").load()
    assert isinstance(told.value, OSError), "the sender knows no StoreError"
    assert str(told.value).startswith(f"{tmp_path}/caps.json: it is damaged (")
    assert str(told.value).endswith("); remove it: what was sent today is then not counted again")


def test_a_folder_without_rights_is_one_line(tmp_path: Path) -> None:
    told = result_of(deliver_without_rights)
    assert re.fullmatch(r"/profilecast-nowhere\S+: cannot be written: Permission denied; make room or .*", told)


def deliver_without_rights() -> str:
    without_rights()
    try:
        with deciding(Path("/profilecast-nowhere")):
            return "it may"
    except StoreError as error:
        return str(error)
