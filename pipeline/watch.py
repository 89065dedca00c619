"""Watching event files: new ones are read from their beginning, grown ones from where the last whole line ended.

JSON Lines that are not packed may grow while they are watched; a last line without its end is left for later. Files
of another kind are read whole, when they have not been written to for `STILL` seconds; again when they change. A file
that was cut or written anew, in place too, is read from its beginning: an event that is read twice changes nothing.
"""

import os
from collections.abc import Iterable, Iterator, Mapping
from hashlib import blake2b
from pathlib import Path
from typing import BinaryIO, NamedTuple

from msgspec import Struct
from msgspec.msgpack import Decoder, Encoder

from transforms.logic.parse import MAX_LINE_BYTES
from transforms.logic.portion import Lines

STILL = 1.0  # seconds
_TAIL = 512  # bytes before the place up to which a file was read, by which it is known again
STEP = 256 << 10  # bytes of a file that are read in one go: others have their turn between
PLAIN = (".jsonl", ".ndjson", ".json")


class Seen(Struct, array_like=True, frozen=True):
    """How far a file was read."""

    inode: int
    size: int  # when it was read
    changed: float  # its modification time then
    offset: int = 0  # of the next line, in bytes
    line: int = 1  # its number
    whole: bool = False  # it was read to its end, as a whole
    tail: bytes = b""  # digest of what came before `offset`
    within: bool = False  # `offset` is in the middle of a line that is too long, and was read


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
            if (file.size, file.changed) != (before.size, before.changed):
                yield file, before
        elif abs(now - file.changed) >= STILL and (  # the clock of what wrote it may be ahead
            before is None or (before.inode, before.size, before.changed) != (file.inode, file.size, file.changed)
        ):
            yield file, Seen(file.inode, 0, 0.0)


def look(paths: Iterable[str]) -> Iterator[Found]:
    """The files as they are; one that went meanwhile, or cannot be looked at now, is left out."""
    for path in paths:
        try:
            status = os.stat(path)
        except OSError:
            continue
        yield Found(path, status.st_ino, status.st_size, status.st_mtime)


def read_grown(file: Found, before: Seen) -> tuple[Lines, Seen]:
    """The whole lines behind what was read before, at most about `STEP` bytes of them; and how far it is read then."""
    with Path(file.path).open("rb") as opened:
        if _tail(opened, before.offset) != before.tail:
            before = Seen(file.inode, 0, 0.0)
        content = _read(opened, before)
        begin = content.find(b"\n") + 1 or len(content) if before.within else 0
        end = content.rfind(b"\n") + 1 or begin
        lines = content[begin:end].split(b"\n")
        lines.pop()
        within = before.within and content[:begin][-1:] != b"\n"
        if len(content) - end > MAX_LINE_BYTES:  # a line without an end in sight: it is no event
            lines.append(content[end : end + MAX_LINE_BYTES + 1])
            end, within = len(content), True
        if before.offset == 0 and lines:
            lines[0] = lines[0].removeprefix(b"\xef\xbb\xbf")
        numbers = list(range(before.line, before.line + len(lines)))
        offset = before.offset + end
        done = before.offset + len(content) >= file.size
        size, changed = (file.size, file.changed) if done else (offset, 0.0)
        tail = _tail(opened, offset)
    line = before.line + len(lines)
    return Lines(file.path, numbers, lines), Seen(file.inode, size, changed, offset, line, tail=tail, within=within)


def _read(opened: BinaryIO, seen: Seen) -> bytes:
    """A step, or more where there is no whole line in it."""
    opened.seek(seen.offset)
    content = opened.read(STEP)
    while not seen.within and b"\n" not in content and len(content) <= MAX_LINE_BYTES and (more := opened.read(STEP)):
        content += more
    return content


def _tail(opened: BinaryIO, offset: int) -> bytes:
    begin = max(offset - _TAIL, 0)
    opened.seek(begin)
    return blake2b(opened.read(offset - begin), digest_size=8).digest() if offset else b""
