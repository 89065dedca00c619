"""Talk: one conversation with a vendor, as far as the requests of a connection share; and how it can end."""

from collections.abc import Callable
from math import inf

from transforms.logic.patience import Patience

_WORDS = 200  # characters of the vendor's words in a cause


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
        self.patience = Patience()  # with the request that is out
        self.give_up: Callable[[], None] = lambda: None  # the request that is out
        self.break_off: Callable[[], None] = lambda: None  # the connection that it is on
        self.given_up = ""  # why
        self._begins = begins
        self.begun = False  # the attempt is written down

    @property
    def patient(self) -> bool:
        return self.partly

    def goes(self, now: float) -> None:
        """A request goes now: ahead of the first one, the attempt is written down."""
        self.sent = now
        self.patience.leaves(now)
        self.went += 1
        self.attempts += 1
        if not self.begun:
            self.begun = True
            try:
                self._begins()
            except OSError as error:  # not to be taken for one of the network
                raise Stopped(f"its journal cannot be written: {error.strerror}") from error

    def heard(self, status: int, words: str) -> None:
        """The vendor said why it does not take it now."""
        words = " ".join(words.split())[:_WORDS]
        self.words = words or self.words
        self.cause = f"HTTP {status}: {words}" if words else f"HTTP {status}"
