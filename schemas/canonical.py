"""Values compare as canonical JSON: 1 equals 1.0, but not true; the order of keys is nothing."""

from hashlib import blake2b
from typing import Any

from msgspec.json import Encoder

_encode = Encoder(order="sorted").encode
_LOWEST, _HIGHEST = -(2**63), 2**64  # integral floats in between are written as integers, as all integers are


def canonical(value: Any) -> bytes:
    """The bytes that decide whether two JSON values are equal, and which of two wins a tie."""
    if value is True:
        return b"true"
    if value is False:
        return b"false"
    kind = type(value)
    if kind is float:
        return b"%d" % value if value.is_integer() and _LOWEST <= value < _HIGHEST else repr(value).encode()
    if kind is int:
        return b"%d" % value
    if kind is list or kind is dict:
        return _encode(_plain(value))
    return _encode(value)


def digest(value: Any) -> bytes:
    """`canonical`, no longer than 16 bytes."""
    text = canonical(value)
    return text if len(text) < 16 else blake2b(text, digest_size=16).digest()


def rank(value: Any) -> tuple[bytes, bytes]:
    """Of two facts of one time the greater wins; equal values (1 and 1.0) are told apart by their spelling."""
    return canonical(value), _encode(value)


def ordered(value: Any) -> Any:
    """The same value, with the keys of its objects in order: equal facts become equal bytes."""
    if type(value) is list:
        return [ordered(item) for item in value]
    if type(value) is dict:
        return {key: ordered(item) for key, item in sorted(value.items())}
    return value


def _plain(value: Any) -> Any:
    if type(value) is float and value.is_integer() and _LOWEST <= value < _HIGHEST:
        return int(value)
    if type(value) is list:
        return [_plain(item) for item in value]
    if type(value) is dict:
        return {key: _plain(item) for key, item in value.items()}
    return value
