"""A vendor's quota, from the headers of a reply: how much there is, and what is left."""

from collections.abc import Mapping
from math import inf

from transforms.logic.hints import wait

# How much there is, how much is left, when it is full again.
_FAMILIES = (
    ("x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"),
    ("ratelimit-limit", "ratelimit-remaining", "ratelimit-reset"),
    ("x-rate-limit-limit", "x-rate-limit-remaining", "x-rate-limit-reset"),
    ("x-rate-limit", "x-rate-limit-remaining", "ratelimit-reset"),
)


def exhausted(headers: Mapping[str, str], now: float | None = None) -> tuple[float, float] | None:
    """Nothing is left of a quota: its size (0: not said), and seconds until it is full again."""
    for size, left, reset in _FAMILIES:
        if headers.get(left, "").strip() != "0":
            continue
        if seconds := wait(headers.get(reset, ""), headers, now):
            return _number(headers.get(size, "")), seconds
    return None


def allowed(headers: Mapping[str, str], name: str) -> float:
    """How many requests there are, in a header of this name; 0: it does not say."""
    return _number(headers.get(name, ""))


def _number(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        return 0.0
    return number if 0.0 < number < inf else 0.0
