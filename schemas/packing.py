"""Packed bytes: msgpack, compressed. For what travels in bulk and what lies on disk."""

from typing import Any, TypeVar

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
