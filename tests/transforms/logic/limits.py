"""A limiter in virtual time before a vendor that counts; and the files that say what should come of it."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import msgspec
import yaml
from msgspec import Struct

from sandbox.meter import Window
from sandbox.vendor import Cap
from schemas.limits import Limit
from transforms.logic.limit import Limiter

_EACH = 0.0002  # seconds that sending a request takes
DATA = Path(__file__).parents[2] / "data" / "limits"


class Window_(Struct, frozen=True, forbid_unknown_fields=True):
    """A limit as a file writes it."""

    requests: float
    seconds: float = 1.0
    endpoint: str = ""
    unit: str = "requests"


class Vendor(Struct, frozen=True, forbid_unknown_fields=True):
    """What the vendor really takes in any sliding window; more is a 429."""

    requests: int
    seconds: float = 1.0
    retry_after: float | None = None
    since: float = 0.0  # from then on; before, it takes everything
    until: float = float("inf")


class Simulation(Struct, frozen=True, forbid_unknown_fields=True):
    """`backlog`: when requests wait to be sent. `late`: how late the sender wakes, at most."""

    intent: str
    limits: list[Window_]
    seconds: float
    expect: dict[str, list[float]]
    backlog: list[tuple[float, float]] = []  # from, to; default: always
    vendor: Vendor | None = None
    late: float = 0.002
    round_trip: float = 0.05
    items: int = 1
    restart_every: float = 0.0  # seconds: the sender is stopped and started again


@dataclass
class Happened:
    """What the vendor saw."""

    sent: list[float] = field(default_factory=list)
    refused: list[float] = field(default_factory=list)
    limiter: Limiter | None = None

    def peak(self, seconds: float) -> int:
        return peak(self.sent, seconds)


def peak(times: list[float], seconds: float) -> int:
    """The most in any sliding window."""
    most, start = 0, 0
    for end, at in enumerate(times):
        while times[start] <= at - seconds + 1e-9:
            start += 1
        most = max(most, end - start + 1)
    return most


def simulate(simulation: Simulation, seed: int = 1) -> Happened:
    """Send whenever the limiter lets and something waits."""
    chance, happened = Random(seed), Happened()
    limits = [Limit(w.requests, w.seconds, w.endpoint, unit=w.unit) for w in simulation.limits]  # type: ignore[arg-type]
    limiter = Limiter(limits, 0.0)
    counter = Window(Cap(simulation.vendor.requests, simulation.vendor.seconds)) if simulation.vendor else None
    answers: list[tuple[float, float, bool]] = []  # when it arrives, when it was sent, whether it was taken
    now, restarts = 0.0, 0
    while now < simulation.seconds:
        for _, sent, taken in [answer for answer in answers if answer[0] <= now]:
            after = simulation.vendor.retry_after if simulation.vendor else None
            limiter.accepted() if taken else limiter.throttled(now, after, sent)
        answers = [answer for answer in answers if answer[0] > now]
        if simulation.restart_every and now // simulation.restart_every > restarts:
            restarts += 1
            kept = msgspec.json.decode(msgspec.json.encode(limiter.save(now, 1e9 + now, ahead=chance.random() < 0.5)))
            limiter = Limiter(limits, now)
            limiter.restore(kept, now, 1e9 + now)
        start = next((max(now, a) for a, b in simulation.backlog or [(0.0, 1e9)] if now < b), None)
        if start is None:
            break
        delay = limiter.delay(now, "", simulation.items)
        if start > now or delay > 0:
            soonest = min([max(start, now + delay), *(answer[0] for answer in answers)])
            now = max(now + 1e-6, soonest) + chance.random() * simulation.late
            continue
        limiter.take(now, "", simulation.items)
        happened.sent.append(now)
        taken = _takes(simulation.vendor, counter, now)
        if not taken:
            happened.refused.append(now)
        answers.append((now + simulation.round_trip, now, taken))
        now += _EACH
    happened.limiter = limiter
    return happened


def _takes(vendor: Vendor | None, counter: Window | None, now: float) -> bool:
    if vendor is None or counter is None or not vendor.since <= now < vendor.until:
        return True
    if counter.wait(now) > 0:
        return False
    counter.take(now)
    return True


def figures(simulation: Simulation, happened: Happened) -> dict[str, float]:
    """What `expect` may speak of."""
    sent = happened.sent
    found: dict[str, float] = {"requests": len(sent), "refused": len(happened.refused)}
    for seconds in (1, 10, 60, 3600, 86400):
        found[f"most in {seconds} s"] = happened.peak(seconds)
    limit = min(simulation.limits, key=lambda w: w.requests / w.seconds, default=None)
    if limit and len(sent) > 1:
        found["used"] = (
            (len(sent) - 1) * _weight(limit, simulation) / (sent[-1] - sent[0]) * limit.seconds / limit.requests
        )
    found["taken share"] = 1 - len(happened.refused) / max(1, len(sent))
    assert happened.limiter
    found["share at the end"] = happened.limiter.learned.share(simulation.seconds)
    return found


def _weight(limit: Window_, simulation: Simulation) -> int:
    return simulation.items if limit.unit == "objects" else 1


def files() -> Iterator[tuple[str, Simulation]]:
    """All of them, by name."""
    for path in sorted(DATA.glob("*.yaml")):
        yield path.stem, msgspec.convert(yaml.safe_load(path.read_text("utf-8")), Simulation)
