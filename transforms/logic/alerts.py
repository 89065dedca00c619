"""Alerts: whom somebody has to hear of, once when a trouble has lasted, and once when it is over.

A connection is in trouble from the first *sign* of it: it stopped, something of it is blocked, it only refuses, or a
change waits too long. What stopped is tried again now and then, and shows no sign meanwhile; so a trouble is over only
when calls are delivered again, or none waits, and no sign has come for a while.
"""

from collections.abc import Collection, Mapping
from typing import NamedTuple

from msgspec import Struct

CALM = 60.0  # seconds without a sign, until a trouble is over
REFUSED = 5  # calls in a row that came to nothing: a connection that refuses
SOURCE = "source "  # before the name of a source where the name of a connection is expected
SERVICE = ""  # stands for the service itself where the name of a connection is expected


class Seen(NamedTuple):
    """A connection as it is at one moment."""

    kind: str = ""  # of its trouble, `stopped` or `blocked`; of the service, `state`; of a source, `unread`; "": none
    oldest: float = 0.0  # seconds that its oldest change waits
    waiting: int = 0  # calls that could go
    delivered: int = 0  # ever
    failed: int = 0  # rejected and expired, ever


class News(NamedTuple):
    """What is to be told. Without anything of people."""

    connection: str
    over: bool
    kind: str  # `stopped`, `blocked`, `refusing`, `late`, `state`, `unread`
    since: float  # when it began
    waiting: int


class Watch(Struct):
    """One connection, for one who wants to hear of it. Times in seconds since 1970."""

    began: float  # when it was first looked at: nothing is known of before
    delivered: int = 0
    failed: int = 0  # when a call was last delivered
    kind: str = ""  # of the trouble that it is in
    since: float = 0.0
    sign: float = 0.0  # when the last one came
    by_then: int = 0  # how many calls were delivered by then
    told: bool = False

    def look(self, name: str, seen: Seen, now: float, after: float) -> News | None:
        """What is to be told now. `after`: how long a trouble lasts until it is told."""
        if seen.delivered != self.delivered:
            self.delivered, self.failed = seen.delivered, seen.failed
        kind, since = self._sign(seen, now, after)
        if kind:
            self.since = min(self.since, since) if self.kind else since
            self.kind, self.sign, self.by_then = kind, now, seen.delivered
            if not self.told and now - self.since >= after:
                self.told = True
                return News(name, False, kind, self.since, seen.waiting)
        elif self.kind and now - self.sign >= CALM and (seen.delivered != self.by_then or not seen.waiting):
            return self._over(name, seen.waiting)
        return None

    def gone(self, name: str) -> News | None:
        """The connection is not in the workspace any more."""
        return self._over(name, 0)

    def _sign(self, seen: Seen, now: float, after: float) -> tuple[str, float]:
        """The kind of trouble that shows now, and since when."""
        if seen.kind:
            return seen.kind, now
        if seen.oldest > after:
            return "late", max(now - seen.oldest, self.began)
        return ("refusing", now) if seen.failed - self.failed >= REFUSED else ("", now)

    def _over(self, name: str, waiting: int) -> News | None:
        told = News(name, True, self.kind, self.since, waiting) if self.told else None
        self.kind, self.told = "", False
        return told


class Alerts:
    """All connections, for one who wants to hear of them."""

    def __init__(self, after: float, watches: dict[str, Watch] | None = None) -> None:
        self.after, self.watches = after, watches or {}

    def look(self, seen: Mapping[str, Seen], now: float, unknown: Collection[str] = ()) -> list[News]:
        """What is to be told now; `seen` has all connections, but for those that are `unknown`."""
        left = [name for name in self.watches if name not in seen and name not in unknown]
        found = [self.watches.pop(name).gone(name) for name in left]
        for watch in (self.watches[name] for name in unknown if name in self.watches):
            watch.began = now  # what waits meanwhile is not late
        for name, each in seen.items():
            watch = self.watches.setdefault(name, Watch(now, each.delivered, each.failed))
            found.append(watch.look(name, each, now, self.after))
        return [news for news in found if news]
