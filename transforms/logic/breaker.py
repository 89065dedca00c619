"""Breaker: a connection whose vendor is in trouble is asked by one request at a time."""

OPENS_AT = 5  # failures in a row
_FIRST_PAUSE = 1.0  # seconds
_LONGEST_PAUSE = 30.0


class Breaker:
    """Opens after failures in a row; while open, one request at a time goes to probe the vendor."""

    def __init__(self) -> None:
        self._failures = 0
        self._probes = 0  # that failed
        self._probe: float | None = None  # when the one that is out was sent
        self._closed_until = float("-inf")
        self.since: float | None = None  # of the first failure in a row

    @property
    def open(self) -> bool:
        return self._failures >= OPENS_AT

    def delay(self, now: float) -> float:
        """Seconds until a request may go; infinite while a probe is out."""
        if not self.open:
            return 0.0
        return float("inf") if self._probe is not None else max(0.0, self._closed_until - now)

    def sending(self, now: float) -> None:
        """A request is sent now."""
        if self.open:
            self._probe = now

    def unused(self, sent: float) -> None:
        """The request sent at `sent` ended without saying anything about the vendor."""
        if self._probe == sent:
            self._probe = None

    def answered(self) -> None:
        """The vendor answered, whatever it said: it is there."""
        self._failures = self._probes = 0
        self._probe = self.since = None

    def failed(self, now: float, sent: float) -> None:
        """No answer, or one that says the vendor is in trouble, to the request sent at `sent`."""
        self.since = now if self.since is None else self.since
        if self.open and sent != self._probe:  # sent before the trouble was known
            return
        self._failures += 1
        if not self.open:
            return
        if self._probe is not None:
            self._probes += 1
        self._probe = None
        self._closed_until = now + min(_LONGEST_PAUSE, _FIRST_PAUSE * 2 ** min(self._probes, 10))
