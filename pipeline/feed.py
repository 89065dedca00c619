"""Feed: what is new in the event files that are watched, a portion at a time.

    feed.look()                          the files as they are
    while pieces := feed.take():         fold them, and then
        feed.took(pieces)                how far their files are read

The file that has the least that is new comes first, so that a line which is added now does not wait for a history.
"""

import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from pipeline import watch
from pipeline.files import InputError, WrongPattern, look_up
from pipeline.inputs import RECORDS, check_file, read_blocks
from pipeline.watch import STEP, Found, Seen
from transforms.logic.portion import Lines

EVERY = 0.5  # seconds between looks
_SHARE = 0.05  # of the time that looking may take: it is done less often where there are very many files
_AGAIN = 60.0  # seconds until a file is tried again that could not be read, and did not change
_PACKED = 8  # times: what a file that is no plain text grows by, about
_FORGET = 30 * 86_400.0  # seconds after its last change that a file is remembered which is not there any more

Blocks = Iterator[tuple[int, list[bytes]]]


class Piece(NamedTuple):
    """Some lines of a file. What is in them has to be folded before it is said that they were read."""

    path: str
    lines: Lines
    seen: Seen | None  # how far the file is read with them; None: it is read whole, and this is not the end


def check_patterns(patterns: Iterable[str]) -> None:
    """Raise WrongPattern where a pattern can never be watched."""
    for pattern in patterns:
        if "://" in pattern:
            advice = "copy the files here, or read them with `profilecast run`"
            raise WrongPattern(pattern, "only files of this machine can be watched", advice)
        try:
            look_up(pattern)
        except WrongPattern:
            raise
        except InputError:  # what is not there yet, or may not be read, may be fixed meanwhile
            pass


class Feed:
    """The files that patterns lead to."""

    def __init__(
        self, patterns: Iterable[str], seen: Mapping[str, Seen], clock: Callable[[], float] = time.time
    ) -> None:
        """`seen`: how far each was read."""
        self._patterns, self._seen, self._clock = [*patterns], {**seen}, clock
        self._due = 0.0
        self._waiting: deque[tuple[Found, Seen]] = deque()
        self._whole: tuple[Found, Blocks, bool] | None = None  # a file that is read whole, under way
        self.unreadable: dict[str, str] = {}  # by path or pattern: a sentence that says why
        self._given_up: dict[str, tuple[Found, float]] = {}

    def look(self) -> None:
        """Look at the files, if that is due."""
        now, began = self._clock(), time.monotonic()
        if began < self._due:
            return
        found = [*watch.look(self._paths())]
        self._know_renamed(found)
        news = [each for each in watch.news(found, self._seen, now) if self._worth_trying(each[0], now)]
        under_way = self._whole[0].path if self._whole else ""
        self._waiting = deque(sorted((each for each in news if each[0].path != under_way), key=_behind))
        self._due = began + max(EVERY, (time.monotonic() - began) / _SHARE)

    def take(self) -> list[Piece]:
        """The next pieces of what was found, about `STEP` bytes together; none: that was all."""
        pieces: list[Piece] = []
        size = 0
        while size < STEP and (piece := self._next()) is not None:
            pieces.append(piece)
            size += sum(map(len, piece.lines.lines))
        return pieces

    def took(self, pieces: Iterable[Piece]) -> None:
        """The pieces are folded, and that is on the disk."""
        for piece in pieces:
            if piece.seen is not None:
                self._seen[piece.path] = piece.seen
                self.unreadable.pop(piece.path, None)
                self._given_up.pop(piece.path, None)

    def begin_anew(self) -> None:
        """What was taken could not be folded: go back to what the disk says was read."""
        self._waiting.clear()
        self._whole = None
        self._due = 0.0

    def forget(self) -> list[str]:
        """Forget files that have not been there for long."""
        there = set(self._paths())
        old = [
            path for path, seen in self._seen.items() if path not in there and seen.changed < self._clock() - _FORGET
        ]
        for path in old:
            del self._seen[path]
        return old

    def knows(self, path: Path, status: os.stat_result) -> bool:
        """Whether a file was taken to its end, as it is now."""
        seen = self._seen.get(str(path.resolve()))
        return seen is not None and (status.st_ino, status.st_size, status.st_mtime) == (
            seen.inode, seen.size, seen.changed,
        )  # fmt: skip

    # -- which

    def _paths(self) -> list[str]:
        found: set[str] = set()
        for pattern in self._patterns:
            try:
                found.update(_found(pattern))
                self.unreadable.pop(pattern, None)
            except InputError as error:
                self.unreadable[pattern] = str(error)
        return sorted(found)

    def _know_renamed(self, found: list[Found]) -> None:
        """A file that has another name is read on: logs are rotated. `read_grown` sees whether it is the same."""
        inodes = {file.path: file.inode for file in found}
        gone = {each.inode: each for path, each in self._seen.items() if inodes.get(path) != each.inode}
        for file in found:
            if file.path not in self._seen and (seen := gone.get(file.inode)) and not seen.whole:
                self._seen[file.path] = seen

    def _worth_trying(self, file: Found, now: float) -> bool:
        before = self._given_up.get(file.path)
        return before is None or before[0] != file or now - before[1] >= _AGAIN

    # -- pieces

    def _next(self) -> Piece | None:
        while self._waiting or self._whole:
            first = self._waiting[0] if self._waiting and not self._stays_with_whole(self._waiting[0]) else None
            file = first[0] if first else self._whole[0] if self._whole else None
            assert file
            try:
                piece = self._of_first() if first else self._of_whole()
            except (InputError, OSError) as error:
                self._give_up(file, str(error) if isinstance(error, InputError) else f"{file.path}: {error.strerror}")
                continue
            if piece is not None:
                return piece
        return None

    def _stays_with_whole(self, first: tuple[Found, Seen]) -> bool:
        """One file at a time is read whole, and what has less goes between."""
        return self._whole is not None and (
            not watch.grows(first[0].path) or _behind((self._whole[0], None)) <= _behind(first)
        )

    def _of_first(self) -> Piece | None:
        file, before = self._waiting.popleft()
        if not watch.grows(file.path):
            self._whole = (file, read_blocks(file.path), check_file(file.path) in RECORDS)
            return None
        lines, after = watch.read_grown(file, before)
        if before.offset < after.offset < file.size and lines.lines:
            self._waiting.appendleft((file, after))  # a step of it; what has less is put ahead by the next look
        return Piece(file.path, lines, after)

    def _of_whole(self) -> Piece:
        assert self._whole
        file, blocks, records = self._whole
        number, lines = next(blocks, (0, []))
        if lines:
            return Piece(file.path, Lines(file.path, [*range(number, number + len(lines))], lines, records), None)
        self._whole = None
        seen = Seen(file.inode, file.size, file.changed, whole=True)
        return Piece(file.path, Lines(file.path, [], [], records), seen)

    def _give_up(self, file: Found, words: str) -> None:
        if self._whole and self._whole[0] == file:
            self._whole = None
        self._given_up[file.path] = (file, self._clock())
        self.unreadable[file.path] = words


def _behind(each: tuple[Found, Seen | None]) -> tuple[int, str]:
    """About how many bytes of a file are to be read."""
    file, before = each
    size = file.size if watch.grows(file.path) else file.size * _PACKED
    return size - (before.offset if before else 0), file.path


def _found(pattern: str) -> list[str]:
    """A file that is named may come later, too."""
    return [path for path in look_up(pattern)[0] if "://" not in path]


__all__ = ["Feed", "Piece", "check_patterns"]
