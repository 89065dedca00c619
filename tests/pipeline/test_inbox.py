"""The inbox: what was written is there, a disk that refuses loses nothing, and only what is folded goes."""

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pipeline.feed import Feed
from pipeline.inbox import KEPT, Inbox, pattern, remove_folded

LINE = b'{"a": 1}\n'


def content(state: Path) -> list[bytes]:
    return [path.read_bytes() for path in sorted((state / "inbox").glob("*.jsonl"))]


@contextmanager
def no_file_longer_than(size: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_lines_are_in_one_file_of_its_owner_until_it_is_closed(tmp_path: Path) -> None:
    inbox = Inbox(tmp_path)
    inbox.write(LINE)
    inbox.write(LINE + LINE)
    assert [LINE * 3] == content(tmp_path)
    inbox.close()
    inbox.close()
    inbox.write(LINE)
    assert [LINE * 3, LINE] == content(tmp_path)
    assert {0o600} == {path.stat().st_mode & 0o777 for path in (tmp_path / "inbox").iterdir()}
    inbox.close()


def test_another_file_is_begun_after_ten_minutes(tmp_path: Path) -> None:
    now = [1_000_000.0]
    inbox = Inbox(tmp_path, lambda: now[0])
    for seconds in (0, 599, 2, 1):
        now[0] += seconds
        inbox.write(LINE)
    assert [LINE * 3, LINE] == content(tmp_path)
    inbox.close()


def test_half_a_write_is_taken_back_and_what_comes_next_goes_elsewhere(tmp_path: Path) -> None:
    inbox = Inbox(tmp_path)
    inbox.write(LINE)
    with no_file_longer_than(len(LINE) + 3), pytest.raises(OSError, match="too large"):
        inbox.write(LINE)
    inbox.write(LINE)
    assert [LINE, LINE] == content(tmp_path)
    inbox.close()


def test_a_disk_that_stays_full_leaves_no_heap_of_files(tmp_path: Path) -> None:
    inbox = Inbox(tmp_path)
    with no_file_longer_than(3):
        for _ in range(5):
            with pytest.raises(OSError, match="too large"):
                inbox.write(LINE)
    assert [] == content(tmp_path)
    inbox.write(LINE)
    assert [LINE] == content(tmp_path)
    inbox.close()


# -- what is folded
def folded(state: Path) -> Feed:
    """A feed that has read all of the inbox."""
    feed = Feed([pattern(state)], {})
    feed.look()
    while pieces := feed.take():
        feed.took(pieces)
    return feed


def newest(state: Path) -> float:
    return max(path.stat().st_mtime for path in (state / "inbox").iterdir())


def test_a_folded_file_goes_after_an_hour_but_never_one_that_is_written(tmp_path: Path) -> None:
    inbox = Inbox(tmp_path)
    inbox.write(LINE)
    feed = folded(tmp_path)
    remove_folded(tmp_path, feed.knows, newest(tmp_path) + 2 * KEPT)
    assert [LINE] == content(tmp_path)
    inbox.close()
    remove_folded(tmp_path, feed.knows, newest(tmp_path) + KEPT - 1)
    assert [LINE] == content(tmp_path)
    remove_folded(tmp_path, feed.knows, newest(tmp_path) + KEPT + 1)
    assert [] == content(tmp_path)


def test_a_file_that_grew_since_it_was_folded_stays(tmp_path: Path) -> None:
    inbox = Inbox(tmp_path)
    inbox.write(LINE)
    feed = folded(tmp_path)
    inbox.write(LINE)
    inbox.close()
    remove_folded(tmp_path, feed.knows, newest(tmp_path) + 2 * KEPT)
    assert [LINE * 2] == content(tmp_path)


def test_a_killed_writers_half_line_does_not_keep_its_file(tmp_path: Path) -> None:
    inbox = Inbox(tmp_path)
    inbox.write(LINE + LINE[:4])
    inbox.close()
    remove_folded(tmp_path, folded(tmp_path).knows, newest(tmp_path) + 2 * KEPT)
    assert [] == content(tmp_path)


def test_there_need_not_be_an_inbox(tmp_path: Path) -> None:
    remove_folded(tmp_path, lambda path, status: True, 0.0)
    assert [] == os.listdir(tmp_path)
