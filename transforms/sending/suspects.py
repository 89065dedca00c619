"""Suspects: calls that the vendor refused with 401, 403, 404 or the like, until it is known whose fault that is."""

from collections.abc import Callable
from typing import NamedTuple

from schemas.outcomes import Rejected
from schemas.report import Report
from transforms.destinations.contract import Destination, refused
from transforms.logic.blame import Blame, Refusal
from transforms.logic.lanes import Item
from transforms.sending.admission import Admission
from transforms.sending.talk import Accused, Stopped
from transforms.sending.words import refusal as words_of


class Accusation(NamedTuple):
    """A refusal, with the calls that it is about and what they get if it is their own fault."""

    refusal: Refusal
    items: list[Item]
    outcome: Rejected


class Suspects:
    """The suspects of one connection. `theirs` is called when a refusal turns out to be the calls' own fault."""

    def __init__(
        self,
        destination: Destination,
        admission: Admission,
        blame: Blame,
        report: Report,
        later: Callable[[], float | None],
        theirs: Callable[[Accusation], None],
    ) -> None:
        self._destination, self._admission, self._blame, self._report = destination, admission, blame, report
        self._later, self._theirs = later, theirs
        self._waiting: dict[tuple[int, ...], Accusation] = {}
        self._words = ""  # of the last refusal
        self.scopes: dict[str, str] = {}  # routes that the vendor refuses as such: its words
        self.acknowledged: set[str] = set()  # routes of which something was

    def accusation(self, items: list[Item], end: Accused, units: int, sent: float, now: float) -> Accusation:
        self._words = self.words(end)
        refusal = Refusal(
            calls=tuple(item.call.ask for item in items),
            subjects=frozenset(item.call.profile_id for item in items),
            meaning=end.meaning,  # type: ignore[arg-type]
            sent=sent,
            at=now,
            words=end.words,
            page="text/html" in end.reply.headers.get("content-type", ""),
            units=units,
        )
        return Accusation(refusal, items, refused(end.reply, words=end.words))

    def weigh(self, accusation: Accusation) -> None:
        """Decide on a refusal: its calls wait as suspects, or it is their own fault."""
        if self._blame.refused(accusation.refusal, accusation.items[0].route) == "record":
            self._theirs(accusation)
        else:
            self._waiting[accusation.refusal.calls] = accusation

    def succeeded(self, sent: float, route: str) -> None:
        """The vendor took something: refusals of requests sent before may be their calls' own fault."""
        self.acknowledged.add(route)
        for cleared in self._blame.succeeded(sent, route):
            self._clear(cleared)

    def _clear(self, refusal: Refusal) -> None:
        if accusation := self._waiting.pop(refusal.calls, None):
            self._theirs(accusation)

    def has(self, item: Item) -> bool:
        return any(item in each.items for each in self._waiting.values())

    def stand(self, out: int) -> bool:
        """Whether more may be sent, while so many conversations are held. Raises Stopped where nobody succeeds."""
        if not self._waiting:
            return True
        for scope in {each.items[0].route for each in self._waiting.values()}:
            match self._blame.stands(out, scope):
                case "holds":
                    return False
                case "splits":
                    self._clear(self._blame.to_split(scope))
                    return False
                case "scope":
                    self._refuse(scope)
                case "connection":
                    raise Stopped(self._words)
        return True

    def _refuse(self, scope: str) -> None:
        """Let all calls of the route wait."""
        self.scopes[scope] = self._report.blocked[scope] = self._words
        for calls, each in list(self._waiting.items()):
            if each.items[0].route == scope:
                del self._waiting[calls]
                for item in each.items:
                    if item.out and not item.settled:
                        self._admission.block(item)

    def weigh_last(self) -> None:
        """Judge the suspects: nothing more can be sent, and nothing is out. Raises Stopped where nobody succeeded."""
        if not self._waiting or not self.stand(0):  # batches are divided first
            return
        records, waiting = self._blame.ended()
        for record in records:
            self._clear(record)
        if waiting and not self.acknowledged:
            raise Stopped(self._words)
        for suspect in waiting:
            self._report.trouble = self._words
            for item in self._waiting.pop(suspect.calls).items:
                if item.out and not item.settled:
                    self._admission.put_aside(item, self._later())

    def words(self, end: Accused) -> str:
        return words_of(self._destination, end.reply, end.meaning, end.words)
