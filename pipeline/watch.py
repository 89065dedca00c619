"""Watching event files: new ones are read from their beginning, grown ones from where the last whole line ended.

JSON Lines that are not packed may grow while they are watched; a last line without its end is left for later. Files
of another kind are read whole, when their size has been the same for `STILL` seconds; again when they change.
"""

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from msgspec import Struct
from msgspec.msgpack import Decoder, Encoder

from transforms.logic.parse import MAX_LINE_BYTES
from transforms.logic.portion import Lines

STILL = 1.0  # seconds
STEP = 2 << 20  # bytes of a file that are read in one go: others have their turn between
PLAIN = (".jsonl", ".ndjson", ".json")


class Seen(Struct, array_like=True, frozen=True):
    """How far a file was read."""

    inode: int
    size: int  # when it was read
    changed: float  # its modification time then
    offset: int = 0  # of the next line, in bytes
    line: int = 1  # its number
    whole: bool = False  # it was read to its end, as a whole


class Found(NamedTuple):
    """A file as it is now."""

    path: str
    inode: int
    size: int
    changed: float


encode_seen, decode_seen = Encoder().encode, Decoder(Seen).decode


def grows(path: str) -> bool:
    """Whether a file of this name is read line by line while it is written."""
    return path.lower().endswith(PLAIN)


def news(found: Iterable[Found], seen: Mapping[str, Seen], now: float) -> Iterator[tuple[Found, Seen]]:
    """What is to be read, and from where: files that are new, longer, or others than they were."""
    for file in found:
        before = seen.get(file.path)
        if grows(file.path):
            if before is None or before.inode != file.inode or file.size < before.offset:
                before = Seen(file.inode, 0, 0.0)
            if file.size > before.offset and (file.size, file.changed) != (before.size, before.changed):
                yield file, before
        elif now - file.changed >= STILL and (
            before is None or (before.inode, before.size, before.changed) != (file.inode, file.size, file.changed)
        ):
            yield file, Seen(file.inode, 0, 0.0)


def look(paths: Iterable[str]) -> Iterator[Found]:
    """The files as they are; one that went meanwhile is left out."""
    for path in paths:
        try:
            status = os.stat(path)
        except FileNotFoundError:
            continue
        yield Found(path, status.st_ino, status.st_size, status.st_mtime)


def read_grown(file: Found, before: Seen) -> tuple[Lines, Seen]:
    """The whole lines behind what was read before, at most about `STEP` bytes of them; and how far it is read then."""
    with Path(file.path).open("rb") as opened:
        opened.seek(before.offset)
        content = opened.read(STEP)
        while b"\n" not in content and len(content) <= MAX_LINE_BYTES and (more := opened.read(STEP)):
            content += more
    end = content.rfind(b"\n") + 1
    if not end and len(content) > MAX_LINE_BYTES:  # one line without an end in sight: it is no event
        end = len(content)
    lines = content[:end].split(b"\n")
    if lines and not lines[-1]:
        lines.pop()
    if before.offset == 0 and lines:
        lines[0] = lines[0].removeprefix(b"\xef\xbb\xbf")
    numbers = list(range(before.line, before.line + len(lines)))
    offset = before.offset + end
    done = offset + len(content) - end >= file.size
    size, changed = (file.size, file.changed) if done else (offset, 0.0)
    return Lines(file.path, numbers, lines), Seen(file.inode, size, changed, offset, before.line + len(lines))
