"""Faults: how a vendor is made slow, failing, flapping, partly rejecting, cut off, silent or garbled."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from email.utils import formatdate
from hashlib import blake2b
from random import Random
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from sandbox.vendor import Answer, Cap, Vendor

PAGE = b"<html><body><h1>502 Bad Gateway</h1></body></html>"  # what stands before a vendor says

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
    `hang`: the share of requests that are neither handled nor answered. `garbage`: the share that are
    handled and answered with a proxy's page instead. `truncate`: with the first half of the answer, which
    is whole as HTTP goes. `shuffle`: with its list of results in reverse and one of them twice (of Braze
    and HubSpot, where each names its item).
    `expire`: every credential is refused so long after it was first seen. `skew`: the vendor's clock is
    off by so much, in all that it says; `dated`: `retry_after` is given as a date, by that clock.
    """

    destination: str = EVERY  # a slug; `*` is every destination without a fault of its own
    latency: Seconds = 0.0
    status: int = 0
    share: Share = 1.0
    flap_every: Seconds = 0.0
    retry_after: Seconds | None = None  # a header beside `status`
    dated: bool = False
    refuse: Share = 0.0
    reset: Share = 0.0
    hang: Share = 0.0
    garbage: Share = 0.0
    truncate: Share = 0.0
    shuffle: Share = 0.0
    expire: Seconds = 0.0
    skew: float = 0.0
    seed: int = 0


class Faults:
    """The faults of all destinations; everything random is drawn from their seeds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._faults: dict[str, tuple[Fault, float]] = {}  # with the time it was set
        self._draws: dict[str, Random] = {}  # by destination, so that one does not disturb another
        self._seen: dict[tuple[str, str], float] = {}  # when a destination first saw a credential

    def put(self, fault: Fault) -> None:
        self._faults[fault.destination] = fault, self._clock()
        self._seen.clear()
        if fault.destination == EVERY:
            self._draws.clear()
        else:
            self._draws.pop(fault.destination, None)

    def clear(self) -> None:
        self._faults.clear()
        self._draws.clear()
        self._seen.clear()

    def end(self, destination: str) -> None:
        """End the fault that was put with this destination."""
        self._faults.pop(destination, None)

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

    def expired(self, slug: str, fault: Fault, credential: str | None) -> bool:
        """Whether this credential is too old; "" is none that could be."""
        if not fault.expire or not credential:
            return False
        now = self._clock()
        return now - self._seen.setdefault((slug, credential), now) >= fault.expire

    def cut(self, slug: str, fault: Fault) -> Cut:
        """How the answer to this request is cut off."""
        if fault.hang and self._drawn(slug, fault, fault.hang):
            return "hang"
        return "reset" if fault.reset and self._drawn(slug, fault, fault.reset) else ""

    def garbled(self, slug: str, fault: Fault, answer: Answer) -> Answer:
        """The answer as it arrives; one without a body stays as it is."""
        if answer.json is None:
            return answer
        if fault.garbage and self._drawn(slug, fault, fault.garbage):
            return Garbled(answer.status, None, {**answer.headers, "Content-Type": "text/html"}, PAGE)
        if fault.truncate and self._drawn(slug, fault, fault.truncate):
            body = answer.body()
            return Garbled(answer.status, answer.json, answer.headers, body[: len(body) // 2])
        if fault.shuffle and self._drawn(slug, fault, fault.shuffle):
            return replace(answer, json=_shuffled(answer.json))
        return answer

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


@dataclass(frozen=True)
class Garbled(Answer):
    """An answer with another body than the vendor's."""

    instead: bytes = b""

    def body(self) -> bytes:
        return self.instead


def failure(vendor: Vendor, fault: Fault, at: float) -> Answer:
    """The fault's status in the vendor's shape; `at` by the vendor's clock."""
    match fault.status:
        case 401:
            answer = vendor.unauthorized()
        case 429:
            answer = vendor.throttled(Cap(1), fault.retry_after or 0.0, at)
        case status:
            answer = vendor.failed(status)
    if fault.retry_after is None:
        return answer
    wait = formatdate(at + fault.retry_after, usegmt=True) if fault.dated else f"{fault.retry_after:g}"
    return Answer(answer.status, answer.json, {**answer.headers, "Retry-After": wait})


def _shuffled(json: Any) -> Any:
    """The lists of objects in it in reverse, with one entry twice."""
    if not isinstance(json, dict):
        return json
    return {
        name: [*value[::-1], value[0]] if isinstance(value, list) and value and isinstance(value[0], dict) else value
        for name, value in json.items()
    }
