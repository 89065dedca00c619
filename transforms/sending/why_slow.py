"""Why slow: what keeps a connection from its cap now, in words for whoever watches it."""

from http import HTTPStatus

from transforms.destinations.contract import Reply
from transforms.logic.breaker import Breaker
from transforms.logic.limit import Limiter
from transforms.sending.talk import Talk
from transforms.sending.words import moment

_SILENT = 5.0  # seconds without a useful answer that are worth a word
_HELD = 30.0  # seconds of waiting for the vendor or the cap that are worth a word


def failure(reply: Reply | None, talk: Talk) -> str:
    """Why an attempt came to nothing, without the vendor's words: people may be in them."""
    if reply is None:
        return talk.cause
    try:
        return f"HTTP {reply.status} ({HTTPStatus(reply.status).phrase})"
    except ValueError:
        return f"HTTP {reply.status}"


def silent_since(breaker: Breaker, now: float, wall: float) -> float:
    """Since when the vendor gives no useful answer, by the clock on the wall; 0: it does."""
    since = breaker.since
    return 0.0 if since is None or now - since < _SILENT else wall - (now - since)


def silent(since: float, last: str) -> str:
    """Since when, and why, the vendor gives no useful answer; "": it does. `last`: why the last attempt failed."""
    return f"no useful answer since {moment(since)}: {last}" if since else ""


def slow(limiter: Limiter, next_at: float, now: float, wall: float) -> str:
    """Why fewer requests go than the cap allows, apart from a silence of the vendor; "": nothing else is in the way.

    `next_at`: when the next one that waits may go, by the clock of `now`.
    """
    if (held := limiter.on_hold(now)) > _HELD:
        return f"the vendor takes nothing before {moment(wall + held)}"
    if limiter.learned.share(now) < 1.0:
        return "the vendor answers 429 (too many requests), so it goes slower"
    if next_at - now > _HELD:
        return f"its cap is used up until {moment(wall + next_at - now)}"
    return ""
