"""Talk: one conversation with a vendor, as far as the requests of a connection share; and how it can end."""

from collections.abc import Callable
from math import inf

_WORDS = 200  # characters of the vendor's words in a cause
_WHOLE = 10  # times as long as a vendor may be silent: within it an answer has come, though it comes drop by drop


class Ended(Exception):
    """A conversation that did not come to its end."""

    maybe = False  # something of it may have arrived
    since: float | None = None  # the vendor has given no useful answer since, by the clock
    words = ""  # the vendor's last ones; where it said nothing, how the last attempt failed


class Stopped(Ended):
    """The connection cannot go on; the text says why and what to do."""


class Unanswered(Ended):
    """Repeating was given up."""


class Halved(Ended):
    """The batch was refused as a whole; `large`: for its size, so that there need be nothing bad in it."""

    def __init__(self, large: bool = False) -> None:
        super().__init__()
        self.large = large


class Interrupted(Ended):
    """The run is stopping."""


class Talk:
    """One conversation's part in what the requests of a connection share."""

    def __init__(
        self, items: int, begins: Callable[[], None] = lambda: None, most: float = inf, route: str = ""
    ) -> None:
        self.route = route  # of its calls
        self.items = items  # units in it
        self.most = most  # bytes that the vendor takes in one request
        self.endpoint = ""
        self.partly = False  # requests of it were answered
        self.maybe = False  # an attempt had no useful answer, and may have arrived
        self.renewing = False
        self.trouble: float | None = None  # since when there is no answer to the one that is out
        self.asked = 0.0  # when the breaker let it pass
        self.sent: float | None = None  # when it took its token
        self.went = 0  # how many of one attempt: a connection that died at once is tried again
        self.attempts = 0  # requests of it that went
        self.cause = ""  # why the last attempt came to nothing
        self.words = ""  # the vendor's, to the last attempt that it answered so
        self.silent_since: float | None = None  # the vendor, since it has all of the request
        self.hang_up: Callable[[], None] = lambda: None  # gives up the request that is out
        self.hung_up = ""  # why we did
        self._begins = begins
        self.begun = False  # the attempt is written down

    @property
    def patient(self) -> bool:
        return self.partly

    def goes(self, now: float) -> None:
        """A request goes now: ahead of the first one, the attempt is written down."""
        self.sent, self.silent_since = now, None
        self.went += 1
        self.attempts += 1
        if not self.begun:
            self.begun = True
            try:
                self._begins()
            except OSError as error:  # not to be taken for one of the network
                raise Stopped(f"its journal cannot be written: {error.strerror}") from error

    def overdue(self, now: float, silence: float) -> float:
        """Seconds until it is to be broken off, as the vendor may be silent for so long; if it is now, says why."""
        if self.sent is None or self.hung_up:
            return inf
        whole = self.sent + _WHOLE * silence - now
        next_part = inf if self.silent_since is None else self.silent_since + silence - now
        if next_part <= 0:
            self.hung_up = f"no answer within {silence:g} s"
        elif whole <= 0:
            self.hung_up = f"no whole answer within {_WHOLE * silence:g} s"
        return min(whole, next_part)

    def heard(self, status: int, words: str) -> None:
        """The vendor said why it does not take it now."""
        words = " ".join(words.split())[:_WORDS]
        self.words = words or self.words
        self.cause = f"HTTP {status}: {words}" if words else f"HTTP {status}"
