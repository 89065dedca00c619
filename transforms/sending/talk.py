"""Talk: the state of one conversation with a vendor; and the ways in which one ends without its result."""

from collections.abc import Awaitable, Callable, Mapping
from contextvars import ContextVar
from math import inf

from transforms.destinations.contract import Reply
from transforms.logic.patience import Patience
from transforms.logic.steps import TRIES

_WORDS = 200  # characters of the vendor's words in a cause


class Ended(Exception):
    """A conversation that did not come to its end."""

    since: float | None = None  # the vendor has given no useful answer since, by the clock
    said = ""  # the vendor's last words; where it said nothing, how the last attempt failed


class Stopped(Ended):
    """The connection cannot go on; the text says why and what to do."""


class Unanswered(Ended):
    """No answer counted, and repeating was given up."""


class Divided(Ended):
    """The batch was refused as a whole, or is not answered while others are: see `transforms.logic.splitting`."""

    def __init__(self, words: str, large: bool = False, unanswered: bool = False) -> None:
        super().__init__(words)
        self.words, self.large, self.unanswered = words, large, unanswered


class Accused(Ended):
    """The vendor says no to who asks, or to what is asked of it: see `transforms.logic.blame`."""

    def __init__(self, meaning: str, words: str, reply: Reply) -> None:
        super().__init__(words)
        self.meaning, self.words, self.reply = meaning, words, reply


class Overtaken(Ended):
    """Calls of the request were taken back or replaced before it was repeated."""


class Interrupted(Ended):
    """The sender is stopping."""


TURNED: ContextVar[Callable[[], None]] = ContextVar("turned")  # of the conversation that a task holds


async def _nothing_to_write() -> None:
    """The attempt needs no mark."""


class Talk:
    """The state of one conversation: what its request is doing now, and what is known of it when it ends."""

    def __init__(
        self,
        items: int,
        mark: Callable[[], Awaitable[None]] = _nothing_to_write,
        most: float = inf,
        route: str = "",
        tries: int = TRIES,
        renewing: bool = False,
    ) -> None:
        """`items`: units in it. `mark` is awaited ahead of the first request. `most`: bytes that the vendor takes.

        `tries`: see `transforms.logic.steps`. `renewing`: it signs in.
        """
        self.items, self.most, self.route, self.tries, self.renewing = items, most, route, tries, renewing
        self._mark = mark
        self.marked = False  # that it may have been sent is written down
        self.endpoint = ""
        self.turned = TURNED.get(_nothing)  # its first request waits for its turn no more
        self.partly = False  # requests of it were answered
        self.maybe = False  # an attempt had no useful answer, and may have arrived
        self.unread = False  # an answer was good by its status, and could not be read to its end
        self.gave_up: float | None = None  # when one without any answer was given up last, by the clock
        self.asked = 0.0  # when the breaker let it pass
        self.session = 0  # the number of the session that its request was signed with
        self.sent: float | None = None  # when it took its token
        self.went = 0  # how many of one attempt: a connection that died at once is tried again
        self.attempts = 0  # requests of it that went
        self.cause = ""  # why the last attempt came to nothing
        self.words = ""  # the vendor's, to the last attempt that it answered so
        self.patience = Patience()  # with the request that is out
        self.head: Reply | None = None  # status and headers of its answer, as soon as they are there
        self.give_up: Callable[[], None] = _nothing  # the request that is out
        self.break_off: Callable[[], None] = _nothing  # the connection that it is on
        self.given_up = ""  # why
        self.sign: Callable[[], Mapping[str, str]] = dict  # makes the signature of the request that is to go
        self.overtaken: Callable[[], bool] = lambda: False  # calls of it are not to be repeated
        self.failed: Callable[[int, str], None] = _not_told  # hears of an attempt that came to nothing: status, words

    async def begins(self) -> None:
        """Write down that it may have been sent, ahead of its first request."""
        if self.marked:
            return
        self.marked = True
        try:
            await self._mark()
        except OSError as error:  # not to be taken for one of the network
            raise Stopped(unwritable(error)) from error

    def goes(self, now: float) -> None:
        """A request has its token, and is sent now."""
        self.sent = now
        self.patience.leaves(now)
        self.went += 1
        self.attempts += 1

    def stays(self) -> None:
        """The request is not sent after all."""
        self.sent = None
        self.patience.waits()
        self.went -= 1
        self.attempts -= 1

    def heard(self, status: int, words: str) -> None:
        """The vendor said why it does not take the request now."""
        words = " ".join(words.split())[:_WORDS]
        self.words = words or self.words
        self.cause = f"HTTP {status}: {words}" if words else f"HTTP {status}"

    def let_go(self) -> None:
        """Let go of what the request used, or each would be a cycle for the garbage collector."""
        self.give_up = self.break_off = _nothing
        self.sign = dict


def _nothing() -> None:
    """There is no request out."""


def _not_told(status: int, words: str) -> None:
    """The request is not about calls."""


def unwritable(error: OSError) -> str:
    return f"its log cannot be written: {error.strerror or error}"
