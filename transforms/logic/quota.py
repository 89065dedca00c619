"""What is left of a vendor's quota, from the headers of a reply that was taken."""

from collections.abc import Mapping
from email.utils import parsedate_to_datetime

# How much there is, how much is left, when it is full again.
_FAMILIES = (
    ("x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"),
    ("ratelimit-limit", "ratelimit-remaining", "ratelimit-reset"),
    ("x-rate-limit-limit", "x-rate-limit-remaining", "x-rate-limit-reset"),
)
_EPOCH = 1_000_000_000  # a larger reset is a time, a smaller one a number of seconds
_LONGEST = 86_400.0


def exhausted(headers: Mapping[str, str]) -> tuple[float, float] | None:
    """Nothing is left of a quota: its size (0: not said), and seconds until it is full again."""
    for size, left, reset in _FAMILIES:
        if headers.get(left, "").strip() != "0" or reset not in headers:
            continue
        try:
            seconds = float(headers[reset])
            if seconds >= _EPOCH:
                seconds -= parsedate_to_datetime(headers["date"]).timestamp()
            return _number(headers.get(size, "")), min(_LONGEST, max(0.0, seconds))
        except (KeyError, TypeError, ValueError):
            continue
    return None


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0
