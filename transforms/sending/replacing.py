"""Replacing: ahead of a full refresh a list is emptied, where the vendor has a request for that.

It is then as one that was gone and was made again: the delivery ends, and everybody is asked in slots of their own,
see `remade` of `transforms.logic.registry`. What was asked before is superseded. Nothing is sent meanwhile: what would
go into the empty list by an older plan, nobody would take out by a newer one.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from transforms.destinations.contract import Destination
from transforms.sending.admission import LANDS
from transforms.sending.attempts import Attempts
from transforms.sending.books import Books
from transforms.sending.delivery import Delivery
from transforms.sending.log import REMADE
from transforms.sending.talk import Accused, Divided, Stopped, Talk, Unanswered
from transforms.sending.words import refusal

_REPLACED = "replaced:"  # a fact, of a list's key: the refresh that was dealt with, seconds since 1970
_LONG_AGO = 86_400.0  # seconds: then it is too late, since the vendor cannot, or the log is an older one
_UNSURE = "requests of before may still arrive; ask for the refresh again in a few minutes"


def unknown(delivery: Delivery, facts: Mapping[str, Any]) -> dict[str, float]:
    """What was made again or emptied of which the delivery's plan does not know, by `form/key`, and when."""
    made = {name.removeprefix(REMADE): at for name, at in facts.items() if name.startswith(REMADE)}
    return {place: at for place, at in made.items() if at > delivery.remade.get(place, 0.0)}


class Replacing:
    """Empties the lists of one connection of which a full refresh was asked."""

    def __init__(
        self,
        delivery: Delivery,
        destination: Destination,
        attempts: Attempts,
        books: Books,
        facts: Mapping[str, Any],
        wall: Callable[[], float],
    ) -> None:
        self._delivery, self._destination, self._attempts, self._books = delivery, destination, attempts, books
        self._facts, self._wall = facts, wall

    @property
    def any(self) -> bool:
        return next(self._due(), None) is not None

    async def run(self, doubtful: bool) -> bool:
        """Empty them; whether one is empty now. `doubtful`: a request may have arrived of which nobody knows.

        That one may bring somebody into the empty list whom nobody takes out again: so the list stays as it is, and
        the refresh tells everything once more. Raises Stopped, and Ended where the sender is stopping.
        """
        doubtful = doubtful or float(self._facts.get(LANDS) or 0.0) > self._wall()
        remade: dict[str, float] = {}
        for key, at in list(self._due()):
            emptied = _UNSURE if doubtful else await self._empty(key)
            facts = {f"{_REPLACED}{key}": at}
            if emptied is True:
                remade[f"list/{key}"] = facts[f"{REMADE}list/{key}"] = max(self._wall(), at)
            elif emptied:
                self._destination.note(f"the list {key!r} was not emptied ahead of its refresh: {emptied}")
            self._books.remember(facts)
        await self._books.flushed()  # whoever decides anew reads it there
        self._delivery.report.remade |= remade
        return bool(remade)

    def _due(self) -> Iterator[tuple[str, float]]:
        for key, at in self._delivery.refreshed.items():
            if at < self._wall() - _LONG_AGO:
                continue
            if at != self._facts.get(f"{_REPLACED}{key}"):
                yield key, at

    async def _empty(self, key: str) -> bool | str:
        """Whether it is empty now; the vendor's words where it is not. False: there is no such list, or no way."""
        try:
            return await self._attempts.converse(self._destination.empty(key, self._wall()), Talk(1))
        except Accused as end:
            if end.meaning == "credentials":
                raise Stopped(refusal(self._destination, end.reply, end.meaning, end.words)) from end
            return end.words or f"HTTP {end.reply.status}"
        except Divided as end:
            return end.words or "the vendor refuses it"
        except Unanswered as error:
            raise Stopped(f"the list {key!r} could not be emptied ahead of its refresh: {error}") from error
