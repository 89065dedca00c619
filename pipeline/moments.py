"""Times as a service says them."""

from datetime import UTC, datetime


def rfc3339(seconds: float) -> str:
    """`2026-01-15T09:05:00Z`, of seconds since 1970; "" for 0."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z") if seconds else ""


def now() -> str:
    """`2026-01-15T09:05:00.123Z`."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
