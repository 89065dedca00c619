"""Faults: how a vendor is made slow, failing, flapping, partly rejecting, cut off or silent."""

from collections.abc import Callable
from hashlib import blake2b
from random import Random
from typing import Annotated, Literal

from msgspec import Meta, Struct

EVERY = "*"

Share = Annotated[float, Meta(ge=0, le=1)]
Seconds = Annotated[float, Meta(ge=0)]
Cut = Literal["hang", "reset", ""]


class Fault(Struct, frozen=True, forbid_unknown_fields=True):
    """What is wrong with a destination from now on; without any field but `destination`: nothing.

    `latency`: every answer comes that much later. `status`: answered, in the vendor's shape, for a
    `share` of the requests, without handling them; with `flap_every` only in the first half of each
    such period. `refuse`: the share of identifiers whose items are refused, always the same ones.
    `reset`: the share of requests that are handled and then cut off in the middle of the answer.
    `hang`: the share of requests that are neither handled nor answered.
    """

    destination: str = EVERY  # a slug; `*` is every destination without a fault of its own
    latency: Seconds = 0.0
    status: int = 0
    share: Share = 1.0
    flap_every: Seconds = 0.0
    retry_after: Seconds | None = None  # a header beside `status`
    refuse: Share = 0.0
    reset: Share = 0.0
    hang: Share = 0.0
    seed: int = 0


class Faults:
    """The faults of all destinations; everything random is drawn from their seeds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._faults: dict[str, tuple[Fault, float]] = {}  # with the time it was set
        self._draws: dict[str, Random] = {}  # by destination, so that one does not disturb another

    def put(self, fault: Fault) -> None:
        self._faults[fault.destination] = fault, self._clock()
        if fault.destination == EVERY:
            self._draws.clear()
        else:
            self._draws.pop(fault.destination, None)

    def clear(self) -> None:
        self._faults.clear()
        self._draws.clear()

    def all(self) -> list[Fault]:
        return [fault for fault, _ in self._faults.values()]

    def of(self, slug: str) -> Fault | None:
        found = self._faults.get(slug) or self._faults.get(EVERY)
        return found[0] if found else None

    def fails(self, slug: str, fault: Fault) -> bool:
        """Whether this request is answered with `fault.status`."""
        if not fault.status:
            return False
        since = self._clock() - self._faults[slug if slug in self._faults else EVERY][1]
        if fault.flap_every and since % fault.flap_every >= fault.flap_every / 2:
            return False
        return self._drawn(slug, fault, fault.share)

    def cut(self, slug: str, fault: Fault) -> Cut:
        """How the answer to this request is cut off."""
        if fault.hang and self._drawn(slug, fault, fault.hang):
            return "hang"
        return "reset" if fault.reset and self._drawn(slug, fault, fault.reset) else ""

    def refuses(self, slug: str, identifier: str) -> bool:
        fault = self.of(slug)
        if fault is None or not fault.refuse:
            return False
        digest = blake2b(f"{fault.seed}:{identifier}".encode(), digest_size=8).digest()
        return int.from_bytes(digest) < fault.refuse * 2**64

    def _drawn(self, slug: str, fault: Fault, share: float) -> bool:
        if slug not in self._draws:
            self._draws[slug] = Random(f"{fault.seed}:{slug}")
        return self._draws[slug].random() < share
