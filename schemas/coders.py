"""Beam coders: how our types travel between steps that are not fused."""

import pickle
from typing import Any

from apache_beam import coders

from transforms.logic.shard import Detected, Expanded


class WholeCoder(coders.Coder):
    """For values as large as a shard: steps hand them on in memory, so that only an engine that
    does not fuse them pays for encoding, and nobody for measuring them.
    """

    def encode(self, value: Any) -> bytes:
        return pickle.dumps(value, protocol=5)

    def decode(self, encoded: bytes) -> Any:
        return pickle.loads(encoded)

    def estimate_size(self, value: Any) -> int:
        return 1  # the default would encode it

    def is_deterministic(self) -> bool:
        return False


def register() -> None:
    """Tell Beam; called where a graph is built."""
    for kind in (Detected, Expanded):
        coders.registry.register_coder(kind, WholeCoder)
