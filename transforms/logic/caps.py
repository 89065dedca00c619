"""The caps of a connection: what its vendor publishes, and what its workspace says."""

from collections.abc import Sequence

from schemas.limits import Limit
from schemas.report import NO_CAP
from schemas.workspace import UNITS, Connection
from transforms.logic.inflight import needed
from transforms.logic.limit import EVEN


def effective_limits(published: Sequence[Limit], connection: Connection) -> list[Limit]:
    """The destination's limits and the workspace's cap. A cap that the vendor raised replaces the published one."""
    limits = list(published)
    if connection.cap is None:
        return limits
    if connection.cap_raised_by_vendor:
        first = next((limit for limit in limits if not limit.endpoint), None)
        limits = [limit for limit in limits if limit is not first]
    return [Limit(connection.cap.requests, connection.cap.seconds, source="workspace"), *limits]


def cap_said(published: Sequence[Limit], connection: Connection) -> str:
    """The cap on its requests as people say it: `100/s`, or `none`."""
    limits = effective_limits(published, connection)
    return next((per(each.requests, each.seconds) for each in limits if not each.endpoint), NO_CAP)


def at_once(bears: int, limits: Sequence[Limit]) -> int:
    """How many conversations at once use the cap up, however slow the answers; at most what the vendor bears."""
    even = [each for each in limits if not each.endpoint and each.unit == "requests" and each.seconds <= EVEN]
    return min(bears, needed(min((limit.requests / limit.seconds for limit in even), default=0.0)))


def per(requests: float, seconds: float) -> str:
    """A cap as people, and the workspace, write it: `50/s`."""
    number = f"{requests:.10g}"
    unit = next((unit for unit, length in UNITS.items() if length == seconds), None)
    return f"{number}/{unit}" if unit else f"{number} per {seconds:g} s"
