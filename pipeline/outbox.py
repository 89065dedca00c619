"""The outbox: the durable log of calls for one connection, one file per shard.

A file is a row of frames (`schemas/packing.py`). A call's place is one number:
`shard << 32 | position in the file`.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from msgspec.msgpack import Decoder

from schemas.calls import Call
from schemas.packing import read_frames
from transforms.logic.lanes import Item

_calls = Decoder(list[Call])


class Outbox:
    """The calls of one connection in one run, shard by shard. Picklable: it holds a path."""

    def __init__(self, directory: Path, sizes: Sequence[int]) -> None:
        self._directory = directory
        self._sizes = list(sizes)  # calls per shard

    def size(self) -> int:
        """How many calls."""
        return sum(self._sizes)

    def read(self) -> Iterator[list[Item]]:
        """All calls in order, a frame at a time; never more than a frame in memory."""
        for shard, size in enumerate(self._sizes):
            if size:
                position = shard << 32
                for calls in _read(shard_file(self._directory, shard)):
                    yield [Item(position + n, call) for n, call in enumerate(calls)]
                    position += len(calls)

    def shard(self, shard: int) -> list[Call]:
        """The calls of one shard."""
        if not self._sizes[shard]:
            return []
        return [call for calls in _read(shard_file(self._directory, shard)) for call in calls]


def shard_file(directory: Path, shard: int) -> Path:
    return directory / f"{shard:02}.calls"


def _read(path: Path) -> Iterator[list[Call]]:
    with path.open("rb") as file:
        yield from read_frames(file, _calls)
