"""Kinds of trouble that a vendor can be in: faults of the sandbox (`sandbox.faults.Fault`), or no vendor at all."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sandbox.vendors import all_vendors

HOURS = 3 * 3600.0
WAITING = 200_000  # calls for the vendor: more than it can be told while the others are


@dataclass(frozen=True)
class Trouble:
    """`faults` with more than one change every second."""

    name: str
    faults: Sequence[Mapping[str, Any]] = ({},)
    shows: str = ""  # a status in the sender's report that says that it happened
    vendor: str = "braze"
    url: str = ""  # where nobody is, instead of the sandbox
    calls: int = WAITING
    through: bool = True  # some of them can be delivered all the same
    used: float = 0.0  # share of the cap that has to be used
    flawed: bool = False  # some of them are

    @property
    def cap(self) -> int:
        """Requests per second; 0: there is no vendor."""
        return 0 if self.url else all_vendors()[self.vendor].caps[0].requests


def wave(status: int, **more: Any) -> tuple[dict[str, Any]]:
    """For two seconds of four."""
    return ({"status": status, "flap_every": 4.0, **more},)


DATED = {"retry_after": 1, "dated": True}
REFUSALS = [{"status": status, "share": 0.3, "refuse": 0.1} for status in (400, 403, 413, 422)]
ALONE = Trouble("alone", calls=0)
TROUBLES = (
    Trouble("is well", used=0.97),
    Trouble("answers 429, 2 s of 4", wave(429, retry_after=1), "429"),
    Trouble("answers 429 always", ({"status": 429},), "429", through=False),
    Trouble("gives dates 3 h behind", wave(429, skew=-HOURS, **DATED), "429", "hubspot"),
    Trouble("gives dates 3 h ahead", wave(429, skew=HOURS, **DATED), "429", "hubspot"),
    Trouble("answers 503, 2 s of 4", wave(503), "503"),
    Trouble("answers 503 always", ({"status": 503},), "503", through=False),
    Trouble("cuts off 1 answer of 5", ({"reset": 0.2},), "none"),
    Trouble("cuts off every answer", ({"reset": 1.0},), "none", through=False),
    Trouble("takes 2 s", ({"latency": 2.0},)),
    Trouble("hangs 1 time of 20", ({"hang": 0.05},), "none"),
    Trouble("hangs always", ({"hang": 1.0},), "none", through=False),
    Trouble("sends half bodies, 3 of 10", ({"truncate": 0.3},)),
    Trouble("sends HTML, 3 of 10", ({"garbage": 0.3},)),
    Trouble("answers in disorder, twice", ({"shuffle": 1.0, "refuse": 0.1},), "207", "hubspot"),
    Trouble("refuses items and batches", ({"refuse": 0.3}, {"status": 409, "share": 0.2}), "409"),
    Trouble("refuses calls in all ways", ({}, *REFUSALS), "403", "zendesk", flawed=True),
    Trouble("expires tokens after 2 s", ({"expire": 2.0},), "401", "hubspot"),
    Trouble("has no address", shows="unreachable", url="https://nowhere.invalid/in", through=False),
    Trouble("refuses connections", shows="unreachable", url="http://127.0.0.1:9/in", through=False),
)
BY_NAME = {each.name: each for each in (ALONE, *TROUBLES)}
