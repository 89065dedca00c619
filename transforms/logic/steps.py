"""Steps: what is done next with one request, after what came of each attempt."""

from random import Random
from typing import Literal, NamedTuple

from transforms.logic.retry import backoff

TRIES = 3  # attempts without a useful answer, after which the trouble may be with these calls alone

Meaning = Literal["answered", "throttled", "transient", "credentials", "refused", "stop", "halve"]


class Heard(NamedTuple):
    """What came of an attempt: the destination's verdict, and the reply's status; 0: no whole answer came."""

    meaning: Meaning
    status: int = 0
    after: float | None = None  # seconds that the vendor asks to wait, where that is plausible
    words: str = ""


class Step(NamedTuple):
    """What to do now.

    `read`: the conversation reads the reply. `repeat`: the same request, `after` so many seconds, and nothing of the
    connection for `hold` seconds. `throttled`: tell the limiter, then repeat when it lets. `renew` the credentials,
    then repeat. `divide`: the batch was refused as a whole (`large`: for its size), or is not answered while
    others are (`unanswered`): see `transforms.logic.splitting`. `reject`: the one unit, in the vendor's words.
    `refused`: blame is weighed (`transforms.logic.blame`). `give up`: its calls are left, or expire; no useful answer
    `since`. `stop`: the connection, with `words`.
    """

    do: Literal["read", "repeat", "throttled", "renew", "divide", "reject", "refused", "give up", "stop"]
    after: float = 0.0
    hold: float = 0.0
    large: bool = False
    unanswered: bool = False
    since: float | None = None
    words: str = ""


class Bounds(NamedTuple):
    """How long the requests of a connection are repeated; seconds."""

    retry_for: float
    give_up_after: float
    renews: bool = False  # the destination can fetch new credentials

    @property
    def longest(self) -> float:
        return min(self.retry_for, self.give_up_after)


class Around(NamedTuple):
    """How it stands with the connection's other requests."""

    answers: int = 0  # useful ones, so far
    troubled_since: float | None = None  # there was none since: the breaker's
    throttled_since: float | None = None  # the vendor has taken none since, and says that they are too many


class Steps:
    """The steps of one request. `units` in it; `tries` before trouble that only it has is its own (a part: fewer)."""

    def __init__(
        self, bounds: Bounds, random: Random, units: int = 1, tries: int = TRIES, renewing: bool = False
    ) -> None:
        self._bounds, self._random, self._units, self._tries = bounds, random, units, tries
        self._renewing = renewing  # it is to fetch new credentials itself
        self._renewed = False
        self._failures = 0
        self._answers = 0  # that others had when it failed first
        self._throttled_since: float | None = None  # since when it is throttled
        self.trouble: float | None = None  # since when it has no useful answer

    def next(self, heard: Heard, now: float, around: Around) -> Step:
        """After an attempt. `around`: with what the attempt itself says counted in."""
        if heard.meaning != "credentials":
            self._renewed = False
        if heard.meaning == "transient":
            return self._failed(heard, now, around)
        self.trouble = None
        if heard.meaning == "throttled":
            return self._throttled(heard, now, around)
        return self._told(heard)

    def _told(self, heard: Heard) -> Step:
        """The vendor has said something that is not about the moment."""
        match heard.meaning:
            case "answered":
                return Step("read")
            case "halve" if self._units > 1:
                return Step("divide", large=heard.status == 413, words=heard.words)
            case "halve":
                return Step("reject", large=heard.status == 413, words=heard.words)
            case "credentials" if self._bounds.renews and not self._renewed and not self._renewing:
                self._renewed = True
                return Step("renew")
            case "credentials" | "refused" if not self._renewing:
                return Step("refused", words=heard.words)
            case _:
                return Step("stop", words=heard.words)

    def _throttled(self, heard: Heard, now: float, around: Around) -> Step:
        longest = self._bounds.retry_for
        self._throttled_since = now if self._throttled_since is None else self._throttled_since
        if around.throttled_since is not None and now - around.throttled_since > longest:
            return Step("stop", words=f"the vendor has taken no request for {longest:.0f} s: they are too many")
        if now - self._throttled_since > longest:
            return Step("give up", words=f"the vendor had no room for it within {longest:.0f} s")
        return Step("throttled", after=heard.after or 0.0)

    def _failed(self, heard: Heard, now: float, around: Around) -> Step:
        """No answer, or one of a vendor in trouble."""
        if self.trouble is None:
            self.trouble, self._answers = now, around.answers
        self._failures += 1
        longest = self._bounds.longest
        words = f"no useful answer within {longest:.0f} s"
        if around.troubled_since is not None and now - around.troubled_since > longest:
            return Step("stop", since=self.trouble, words=words)
        wait = backoff(self._failures, heard.after, self._random)
        if self._failures >= self._tries and self._alone(heard, around):
            return Step("divide", after=wait, unanswered=True, since=self.trouble, words=heard.words)
        if now + wait - self.trouble > longest:
            return Step("give up", since=self.trouble, words=words)
        return Step("repeat", after=wait, hold=(heard.after or 0.0) if heard.status == 503 else 0.0)

    def _alone(self, heard: Heard, around: Around) -> bool:
        """Whether the vendor may be in trouble with these calls only. One that says how long is in trouble itself."""
        if around.answers > self._answers:
            return True
        return self._units > 1 and heard.status > 0 and heard.after is None
