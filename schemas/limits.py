"""Limits, batches, versions: how much a vendor takes and for how long, as its destination declares it."""

from dataclasses import dataclass
from datetime import date
from typing import Literal


@dataclass(frozen=True)
class Limit:
    """At most `requests` in any `seconds`, of the requests of one `endpoint` class ("" is all but those of `besides`).

    `unit`: some vendors count the objects in the requests instead.
    """

    requests: float
    seconds: float = 1.0
    endpoint: str = ""
    source: str = ""  # where it is written
    unit: Literal["requests", "objects"] = "requests"
    besides: tuple[str, ...] = ()  # endpoint classes that the vendor counts apart

    def counts(self, endpoint: str) -> bool:
        """Whether a request of this endpoint class is counted."""
        return self.endpoint == endpoint or (not self.endpoint and endpoint not in self.besides)


@dataclass(frozen=True)
class Batch:
    """How much one conversation takes: distinct `unit`s, and bytes of a body; and how many may be under way."""

    items: int = 1
    bytes: int = 1_000_000
    at_once: int = 0  # of the route; 0: as many as the connection has
    # What a vendor that knows nobody yet is asked, for estimates:
    requests: int = 1  # by a conversation
    each: int = 0  # and besides for each unit in it

    def asked(self, units: int) -> int:
        """Requests for so many units, in full batches."""
        return -(-units // self.items) * self.requests + units * self.each


@dataclass(frozen=True)
class ApiVersion:
    """A version of a vendor's API that ends some day."""

    name: str
    ends: date | None = None  # the day from which the vendor need not answer it; None: not known
    source: str = ""  # where it is written
