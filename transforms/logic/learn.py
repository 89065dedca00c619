"""What a vendor's 429s teach: down at once where they repeat, up again slowly, never above the cap."""

from math import exp, inf

from transforms.logic.retry import own

_FALL = 0.7  # a repeated 429 leaves this share of the rate
_CLIMB = 0.02  # share of the rate regained per second without a 429
_FLOOR = 0.05  # the learned rate never falls below this share
_REPEATED = 30.0  # seconds within which a second 429 means that the rate is too high
_LEAST_HOLD = 1.0  # seconds, at most, by which the own backoff lengthens what the vendor says
_CATCH_UP = 0.008  # seconds
_CURVE = 1_000  # changes of the rate that are kept: a service runs for months


class Learned:
    """A rate below the cap, while there is reason for one. Without a cap: below what was sent."""

    def __init__(self) -> None:
        self._rate = 0.0  # requests per second that the share is of; 0: nothing is learned
        self._share = 1.0
        self._since = 0.0  # when it began to climb from `_share`
        self._due = -inf
        self._last = -inf  # when the last hold ended
        self._in_a_row = 0
        self._next = -inf  # while they are in a row: when one more may go to try
        self._recent = 0.0  # requests sent, fading within a second
        self._recent_at = 0.0
        self.curve: list[tuple[float, float, str]] = []  # when, share, why

    def share(self, now: float) -> float:
        """The learned rate as a share of the cap."""
        return min(1.0, self._share + max(0.0, now - self._since) * _CLIMB) if self._rate else 1.0

    def ready(self) -> float:
        """From when the next request may go."""
        return max(self._due - _CATCH_UP if self._rate else -inf, self._next)

    def take(self, now: float) -> None:
        """A request goes."""
        self._recent = 1.0 + self._recent * exp(self._recent_at - now)
        self._recent_at = now
        if self._in_a_row:
            self._next = now + own(self._in_a_row)
        if not self._rate:
            return
        share = self.share(now)
        if share >= 1.0:
            self._rate = 0.0
            self._note(now, 1.0, "no 429 since: all of the cap again")
        else:
            self._due = max(self._due, now) + 1 / (self._rate * share)

    def throttled(self, now: float, after: float | None, cap: float) -> float:
        """A 429 came; seconds to hold the connection. `cap` in requests per second, 0 is none.

        Until the vendor takes a request again, only one goes at a time to try, and ever more seldom.
        """
        self._in_a_row += 1
        hold = own(self._in_a_row)
        if after is not None:
            hold = max(after, min(hold, _LEAST_HOLD))
        if now - self._last < _REPEATED:
            share = max(_FLOOR, self.share(now) * _FALL)
            self._rate = self._rate or cap or max(1.0, self._recent)
            self._share = share
            self._note(now, round(share, 3), "429 again")
        else:
            self._share = self.share(now)
        self._since = self._last = now + hold
        return hold

    def _note(self, now: float, share: float, why: str) -> None:
        self.curve.append((now, share, why))
        del self.curve[:-_CURVE]

    def accepted(self) -> None:
        """The vendor took a request."""
        self._in_a_row, self._next = 0, -inf
