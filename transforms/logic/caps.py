"""The caps of a connection: what its vendor publishes, and what its workspace says."""

from math import ceil

from schemas.workspace import UNITS, Connection
from schemas.limits import Limit
from transforms.destinations.contract import Destination
from transforms.logic.inflight import FEWEST, SLOWEST
from transforms.logic.limit import EVEN


def effective_limits(destination: type[Destination], connection: Connection) -> list[Limit]:
    """The destination's limits and the workspace's cap; one that the vendor raised is in place of the first."""
    limits = list(destination.limits)
    if connection.cap is None:
        return limits
    if connection.cap_raised_by_vendor:
        published = next((limit for limit in limits if not limit.endpoint), None)
        limits = [limit for limit in limits if limit is not published]
    return [Limit(connection.cap.requests, connection.cap.seconds, source="workspace"), *limits]


def at_once(destination: Destination, limits: list[Limit]) -> int:
    """How many conversations use the cap up before the slowest answers; or as many as the vendor bears."""
    even = [each for each in limits if not each.endpoint and each.unit == "requests" and each.seconds <= EVEN]
    rates = [limit.requests / limit.seconds for limit in even]
    return min(destination.at_once(), max(FEWEST, ceil(min(rates, default=0.0) * SLOWEST)))


def per(requests: float, seconds: float) -> str:
    """A cap as people, and the workspace, write it: `50/s`."""
    number = f"{requests:.10g}"
    unit = next((unit for unit, length in UNITS.items() if length == seconds), None)
    return f"{number}/{unit}" if unit else f"{number} per {seconds:g} s"
