"""Watching files: what is new is read once, whatever is done to them."""

import gzip
import os
from pathlib import Path

import pytest

from pipeline import watch
from pipeline.watch import STEP, Found, Seen, decode_seen, encode_seen, grows, look, news, read_grown
from transforms.logic.parse import MAX_LINE_BYTES


class Watcher:
    """Looks at some files, as a service does it."""

    def __init__(self, *paths: Path) -> None:
        self.paths = [str(path) for path in paths]
        self.seen: dict[str, Seen] = {}

    def step(self) -> list[tuple[int, bytes]]:
        """Numbers and lines that one look brings."""
        found: list[tuple[int, bytes]] = []
        for file, before in [*news(look(self.paths), self.seen, 1e12)]:
            lines, after = read_grown(file, before)
            found += zip(lines.numbers, lines.lines, strict=True)
            self.seen[file.path] = decode_seen(encode_seen(after))
        return found

    def all(self) -> list[tuple[int, bytes]]:
        """Until there is no more."""
        found: list[tuple[int, bytes]] = []
        for _ in range(100):
            if not [*news(look(self.paths), self.seen, 1e12)]:
                return found
            found += self.step()
        raise AssertionError("it never ends")

    def lines(self) -> list[bytes]:
        return [line for _, line in self.all()]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "events.jsonl"


def add(path: Path, content: bytes) -> None:
    with path.open("ab") as file:
        file.write(content)


def test_a_file_is_read_once(path: Path) -> None:
    path.write_bytes(b"one\ntwo\n\nfour\n")
    watcher = Watcher(path)
    assert [(1, b"one"), (2, b"two"), (3, b""), (4, b"four")] == watcher.all()
    assert [] == watcher.all()
    assert [] == [*news(look(watcher.paths), watcher.seen, 1e12)]


def test_what_is_added_is_read_with_its_numbers(path: Path) -> None:
    path.write_bytes(b"one\n")
    watcher = Watcher(path)
    watcher.all()
    add(path, b"two\nthree\n")
    assert [(2, b"two"), (3, b"three")] == watcher.all()


def test_a_line_without_its_end_is_left_until_it_has_one(path: Path) -> None:
    path.write_bytes(b"one\ntw")
    watcher = Watcher(path)
    assert [b"one"] == watcher.lines()
    assert [] == watcher.lines()
    add(path, b"o")
    assert [] == watcher.lines()
    add(path, b"\nthr")
    assert [(2, b"two")] == watcher.all()


def test_a_file_of_half_a_line_is_left(path: Path) -> None:
    path.write_bytes(b"on")
    watcher = Watcher(path)
    assert [] == watcher.lines()
    add(path, b"e\n")
    assert [(1, b"one")] == watcher.all()


def test_an_empty_file_is_nothing_and_may_grow(path: Path) -> None:
    path.write_bytes(b"")
    watcher = Watcher(path)
    assert [] == watcher.lines()
    add(path, b"one\n")
    assert [b"one"] == watcher.lines()


@pytest.mark.parametrize("content", [b"new\n", b"new\nn\n", b"new\nlonger than before\n", b"one\nTWO\n"])
@pytest.mark.parametrize("how", ["in place", "renamed", "removed"])
def test_a_file_that_was_written_anew_is_read_from_its_beginning(path: Path, content: bytes, how: str) -> None:
    path.write_bytes(b"one\ntwo\n")
    watcher = Watcher(path)
    watcher.all()
    if how == "in place":
        path.write_bytes(content)
    elif how == "renamed":
        path.with_suffix(".new").write_bytes(content)
        path.with_suffix(".new").rename(path)
    else:
        path.unlink()
        assert [] == watcher.lines()
        path.write_bytes(content)
    os.utime(path, (5, 5))  # or a test is too fast for the clock of the disk
    assert [*enumerate(content.splitlines(), 1)] == watcher.all()
    add(path, b"more\n")
    assert [b"more"] == watcher.lines()


def test_a_file_that_was_cut_is_read_from_its_beginning(path: Path) -> None:
    path.write_bytes(b"one\ntwo\nthree\n")
    watcher = Watcher(path)
    watcher.all()
    os.truncate(path, 4)
    assert [(1, b"one")] == watcher.all()


def test_a_file_that_was_only_touched_is_not_read_again(path: Path) -> None:
    path.write_bytes(b"one\n")
    watcher = Watcher(path)
    watcher.all()
    os.utime(path, (5, 5))
    assert [] == watcher.lines()


def test_a_mark_of_its_encoding_is_no_part_of_the_first_line(path: Path) -> None:
    path.write_bytes(b"\xef\xbb\xbfone\n\xef\xbb\xbftwo\n")
    watcher = Watcher(path)
    assert [b"one", b"\xef\xbb\xbftwo"] == watcher.lines()
    add(path, b"\xef\xbb\xbfthree\n")
    assert [b"\xef\xbb\xbfthree"] == watcher.lines()


def test_a_large_file_is_read_in_steps(path: Path) -> None:
    lines = [b"%d %s" % (number, b"x" * 1_000) for number in range(6_000)]
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    watcher = Watcher(path)
    first = watcher.step()
    assert STEP // 1_100 < len(first) <= STEP // 1_000
    assert [*enumerate(lines, 1)] == first + watcher.all()


@pytest.mark.parametrize(
    "length", [MAX_LINE_BYTES - 1, MAX_LINE_BYTES, MAX_LINE_BYTES + 1, STEP, 2 * STEP, 3 * STEP + 7]
)
def test_a_long_line_is_one_line(path: Path, length: int) -> None:
    path.write_bytes(b"one\n" + b"x" * length + b"\nthree\n")
    found = Watcher(path).all()
    assert [(1, b"one"), (3, b"three")] == [found[0], *found[2:]]
    number, line = found[1]
    assert (2, length > MAX_LINE_BYTES) == (number, len(line) > MAX_LINE_BYTES)
    assert not line.strip(b"x")


def test_a_line_that_is_too_long_is_reported_once_while_it_grows(path: Path) -> None:
    watcher = Watcher(path)
    path.write_bytes(b"one\n")
    assert [b"one"] == watcher.lines()
    add(path, b"x" * (MAX_LINE_BYTES + 10))
    (number, line), *rest = watcher.all()
    assert (2, MAX_LINE_BYTES + 1, []) == (number, len(line), rest)
    add(path, b"x" * MAX_LINE_BYTES)
    assert [] == watcher.all()
    add(path, b'{"type": "delete"}')
    assert [] == watcher.all()
    add(path, b'{"type": "delete"}\nthree\n')
    assert [(3, b"three")] == watcher.all()


def test_a_file_that_grows_while_it_is_read_is_read_on(path: Path) -> None:
    path.write_bytes(b"one\n")
    watcher = Watcher(path)
    ((file, before),) = news(look(watcher.paths), {}, 1e12)
    add(path, b"two\nthr")
    lines, after = read_grown(file, before)
    assert [b"one", b"two"] == lines.lines
    watcher.seen[str(path)] = after
    assert [] == watcher.all()
    add(path, b"ee\n")
    assert [(3, b"three")] == watcher.all()


def test_what_went_meanwhile_is_left_out(path: Path, tmp_path: Path) -> None:
    path.write_bytes(b"one\n")
    (tmp_path / "file").write_bytes(b"")
    found = look([str(tmp_path / "gone.jsonl"), str(tmp_path / "file" / "below.jsonl"), str(path)])
    assert [str(path)] == [file.path for file in found]


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        ("a.jsonl", True),
        ("a.NDJSON", True),
        ("a.json", True),
        ("a.jsonl.gz", False),
        ("a.parquet", False),
        ("a", False),
    ],
)
def test_only_plain_lines_are_read_while_they_are_written(name: str, lines: bool) -> None:
    assert lines == grows(name)


@pytest.mark.parametrize("name", ["events.jsonl.gz", "events.parquet", "events.avro"])
def test_other_files_are_read_whole_when_nobody_writes_them(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(gzip.compress(b"one\n"))
    os.utime(path, (100.0, 100.0))
    (found,) = look([str(path)])
    assert [] == [*news([found], {}, 100.0 + watch.STILL / 2)]
    assert [(found, Seen(found.inode, 0, 0.0))] == [*news([found], {}, 100.0 + watch.STILL)]
    seen = {str(path): Seen(found.inode, found.size, found.changed, whole=True)}
    assert [] == [*news([found], seen, 200.0)]
    for other in (found._replace(size=7), found._replace(inode=7), found._replace(changed=150.0)):
        assert [other] == [file for file, _ in news([other], seen, 200.0)]


def test_a_file_whose_writer_has_a_clock_far_ahead_is_read_too() -> None:
    found = Found("events.parquet", 1, 10, 10_000.0)
    assert [found] == [file for file, _ in news([found], {}, 100.0)]
