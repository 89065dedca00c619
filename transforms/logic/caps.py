"""The caps of a connection: what its vendor publishes, and what its workspace says."""

from schemas.workspace import Connection
from transforms.destinations.contract import Destination, Limit


def effective_limits(destination: type[Destination], connection: Connection) -> list[Limit]:
    """The destination's limits and the workspace's cap; one that the vendor raised is in place of the first."""
    limits = list(destination.limits)
    if connection.cap is None:
        return limits
    if connection.cap_raised_by_vendor:
        published = next((limit for limit in limits if not limit.endpoint), None)
        limits = [limit for limit in limits if limit is not published]
    return [Limit(connection.cap.requests, connection.cap.seconds, source="workspace"), *limits]


def said(limit: Limit) -> str:
    """A limit as people write it: `50/s`, `100/10s`, `500000/d`."""
    units = {1.0: "s", 60.0: "m", 3600.0: "h", 86400.0: "d"}
    return f"{limit.requests:g}/{units.get(limit.seconds, f'{limit.seconds:g}s')}"
