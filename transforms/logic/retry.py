"""When a request is sent again, and when a call is given up."""

from random import Random

_FIRST = 0.5  # seconds
_LONGEST = 60.0


def backoff(failures: int, after: float | None, random: Random) -> float:
    """Seconds to wait after the n-th failure (from 1): doubling, with jitter that only lengthens.

    `after` is the vendor's own word; it is never undercut.
    """
    wait = max(own(failures), after or 0.0)
    return wait + 0.5 * min(wait, _LONGEST) * random.random()


def own(failures: int) -> float:
    """Seconds to wait after the n-th failure, where nobody says how long: 0.5, 1, 2, … 60."""
    return min(_LONGEST, _FIRST * 2.0 ** min(failures - 1, 10))


def outlived(since: float, began: float, now: float, give_up_after: float) -> bool:
    """Whether a call has expired: it failed again, and its trouble began long ago.

    `since`: when it first failed without an outcome in an earlier run, 0 if in none; `began`: in this one. In
    seconds since 1970.
    """
    return now - (since or began) >= give_up_after
