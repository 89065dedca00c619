"""Hints: how long a vendor asks to wait. What is not plausible is no hint, and the sender's own backoff decides."""

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

LONGEST = 6 * 3600.0  # seconds; a longer wait is rather a misunderstanding, and asking once a minute costs little
_MOMENT = 1e9  # a greater number is a moment, in seconds since 1970
_MILLISECONDS = 1e11  # in milliseconds


def plausible(seconds: float | None) -> float | None:
    """The wait; None where it is none: zero and below, no number, or hours and hours."""
    return seconds if seconds is not None and 0.0 < seconds <= LONGEST else None


def wait(text: str | float, headers: Mapping[str, str], now: float | None = None) -> float | None:
    """Seconds that a vendor tells as a number of them, as a moment since 1970 in seconds or milliseconds, or as a date.

    A moment is read against the reply's own `date`, for clocks differ; against `now` where there is none.
    """
    number = _number(text)
    if number is not None and number <= _MOMENT:
        return plausible(number)
    moment = _moment(str(text)) if number is None else number / 1000 if number > _MILLISECONDS else number
    since = _moment(headers.get("date", ""))
    since = now if since is None else since
    return None if moment is None or since is None else plausible(moment - since)


def _number(text: str | float) -> float | None:
    try:
        return float(text)
    except (ValueError, OverflowError):
        return None


def _moment(date: str) -> float | None:
    """Of an HTTP or an RFC 3339 date, seconds since 1970."""
    for read in (parsedate_to_datetime, datetime.fromisoformat):
        try:
            found = read(date.strip())
            return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
        except (TypeError, ValueError, OverflowError, IndexError):
            continue
    return None
