"""Turns: how many conversations wait for their first turn, so that a batch is formed only when it can go soon."""

from collections import Counter
from collections.abc import Callable
from math import inf

from transforms.logic.inflight import waiting
from transforms.logic.limit import Limiter


class Turns:
    """Conversations that wait for their first turn, by endpoint class."""

    def __init__(self, limiter: Limiter) -> None:
        self._limiter = limiter
        self._endpoints: dict[str, str] = {}  # by route
        self._waiting: Counter[str | None] = Counter()

    def waiting(self) -> int:
        """How many wait, without those that wait for a limit of their own class: these are in nobody's way."""
        rate_of, rate = self._limiter.rate_of, self._limiter.rate
        return sum(n for endpoint, n in self._waiting.items() if endpoint is None or rate_of(endpoint) == rate)

    def may_go(self, route: str) -> bool:
        """Whether a request of this route would not wait long for the limit of its own endpoint class.

        What waits there could not grow any more, and would be in the way of other routes.
        """
        endpoint = self._endpoints.get(route)
        if endpoint is None:  # it is known when the first one asks
            return not self._waiting[None]
        rate = self._limiter.rate_of(endpoint)
        return rate == self._limiter.rate or self._waiting[endpoint] < waiting(rate)

    def begin(self, route: str) -> Callable[[], None]:
        """A conversation begins. Call what this returns when the conversation waits no more."""
        endpoint = self._endpoints.get(route)
        self._waiting[endpoint] += 1
        turns: list[str | None] = [endpoint]

        def done() -> None:
            if turns:
                self._waiting[turns.pop()] -= 1

        return done

    def learn(self, route: str, endpoint: str) -> None:
        """Note the endpoint class of a route. Of several classes the one with the strictest limit counts."""
        known = self._endpoints.setdefault(route, endpoint)
        if known != endpoint:
            rate_of = self._limiter.rate_of
            self._endpoints[route] = min(known, endpoint, key=lambda each: rate_of(each) or inf)
