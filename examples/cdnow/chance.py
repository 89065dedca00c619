"""Chance that always falls the same: it depends on the customer and on what is decided, and on nothing else."""

from collections.abc import Sequence
from hashlib import blake2b
from typing import TypeVar

T = TypeVar("T")


class Chance:
    """What chance decides for one customer."""

    def __init__(self, customer: str) -> None:
        self._customer = customer

    def number(self, what: str) -> int:
        """128 bits."""
        return int.from_bytes(blake2b(f"{self._customer} {what}".encode(), digest_size=16).digest())

    def happens(self, share: float, what: str) -> bool:
        """True for this share of the customers."""
        return self.number(what) < share * 2**128

    def between(self, low: int, high: int, what: str) -> int:
        """From `low` to before `high`."""
        return low + self.number(what) % (high - low)

    def one_of(self, choices: Sequence[T], what: str) -> T:
        return choices[self.number(what) % len(choices)]
