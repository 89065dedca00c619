"""Packed bytes: msgpack, compressed. For what travels in bulk and what lies on disk."""

from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO, TypeVar

import pyarrow as pa
from msgspec.msgpack import Decoder, Encoder

_codec = pa.Codec("zstd", compression_level=1)
_encode = Encoder().encode

T = TypeVar("T")


def pack(value: Any) -> bytes:
    """Four bytes of size, then zstd."""
    plain = _encode(value)
    compressed: bytes = _codec.compress(plain, asbytes=True)
    return len(plain).to_bytes(4, "little") + compressed


def unpack(packed: bytes | memoryview, decoder: Decoder[T]) -> T:
    """The inverse of `pack`."""
    size = int.from_bytes(packed[:4], "little")
    return decoder.decode(_codec.decompress(packed[4:], decompressed_size=size, asbytes=True))


FRAME = 500  # items


def frames(items: Sequence[Any]) -> bytes:
    """A row of frames: four bytes of length, then a packed list of at most `FRAME` items."""
    parts = []
    for start in range(0, len(items), FRAME):
        packed = pack(items[start : start + FRAME])
        parts += [len(packed).to_bytes(4, "little"), packed]
    return b"".join(parts)


def read_frames(file: BinaryIO, decoder: Decoder[list[T]]) -> Iterator[list[T]]:
    """The inverse of `frames`, a frame at a time."""
    while head := file.read(4):
        yield unpack(file.read(int.from_bytes(head, "little")), decoder)
