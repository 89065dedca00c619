"""Needs: what calls of a key need at the vendor (a list, a field): made or found ahead of them, and made again."""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import deepcopy

from schemas.calls import Call
from schemas.outcomes import Blocked
from schemas.report import Report
from transforms.destinations.contract import Destination, Target, target_of
from transforms.logic.blame import Keys
from transforms.logic.lanes import Item
from transforms.sending.attempts import Attempts
from transforms.sending.books import Books
from transforms.sending.log import REMADE
from transforms.sending.suspects import Suspects
from transforms.sending.talk import Accused, Divided, Stopped, Talk, Unanswered

MEMORY = "memory"  # the fact that holds what the destination remembers
LOST = "lost:"  # of a `form/key`: the vendor did not have it any more


class Needs:
    """What the keys of one connection need."""

    def __init__(
        self,
        destination: Destination,
        attempts: Attempts,
        keys: Keys,
        books: Books,
        suspects: Suspects,
        report: Report,
        lost: Iterable[str],
        clock: Callable[[], float],
        wall: Callable[[], float],
    ) -> None:
        """`lost`: facts of earlier processes that say what the vendor did not have any more."""
        self._destination, self._attempts, self._keys = destination, attempts, keys
        self._books, self._suspects, self._report, self._clock = books, suspects, report, clock
        self.any = type(destination).prepare is not Destination.prepare
        self._lock = asyncio.Lock()
        self._prepared: set[Target] = set()
        self._remembered = deepcopy(destination.memory)
        self._lost = {name for name in lost if name.startswith(LOST)}
        self._wall = wall

    async def prepare(self, calls: Sequence[Call]) -> None:
        """Prepare the keys of these calls that are not prepared yet. Raises Ended."""
        if all(target_of(call) in self._prepared for call in calls):
            return
        async with self._lock:
            fresh: dict[Target, Call] = {}
            for call in calls:
                target = target_of(call)
                if call.kind != "delete" and target not in self._prepared and target not in self._keys.waiting:
                    fresh.setdefault(target, call)
            if fresh:
                await self._prepare(fresh)

    async def _prepare(self, targets: dict[Target, Call]) -> None:
        try:
            refusals = await self._ask_for(targets)
        except Unanswered as error:
            raise Stopped(f"what its calls need could not be prepared: {error}") from error
        except (Divided, Accused) as end:
            if len(targets) > 1:  # one after the other: the fault may be one key's
                for target, sample in targets.items():
                    await self._prepare({target: sample})
                return
            if isinstance(end, Accused) and not self._suspects.acknowledged:
                raise Stopped(self._suspects.words(end)) from end
            refusals = dict.fromkeys(targets, str(end))
        finally:
            self.remember()
        for target, words in refusals.items():
            self.block(target, words)
        self._prepared.update(targets)
        for target in targets.keys() - refusals.keys():
            self._found(target)

    async def _ask_for(self, targets: Mapping[Target, Call]) -> Mapping[Target, str]:
        """Prepare them; the refusals. What the vendor made though its answer was lost is found the second time."""
        talk = Talk(1)
        refusals = await self._attempts.converse(self._destination.prepare(targets), talk)
        if refusals and (talk.maybe or talk.unread):
            again = {target: targets[target] for target in refusals}
            refusals = await self._attempts.converse(self._destination.prepare(again), Talk(1))
        return refusals or {}

    def _lose(self, target: Target) -> None:
        """The vendor does not have any more what a target needs. What was made of it before is that which is gone."""
        self._destination.made.discard(target)
        self._lost.add(LOST + "/".join(target))
        self._books.remember({LOST + "/".join(target): 1})

    def _found(self, target: Target) -> None:
        """A target is there. If it had been lost, and was made anew, nobody is in it any more."""
        place = "/".join(target)
        if LOST + place not in self._lost:
            return
        self._lost.discard(LOST + place)
        self._books.remember({LOST + place: None})
        if target in self._destination.made:
            now = self._wall()
            self._report.remade[place] = now
            self._books.remember({REMADE + place: now})

    def remember(self) -> None:
        """Keep what the destination has learnt, for later runs."""
        if self._destination.memory != self._remembered:
            self._remembered = deepcopy(self._destination.memory)
            self._books.remember({MEMORY: self._remembered})

    async def blocked(self, item: Item, outcome: Blocked, sent: float) -> bool:
        """A call of a request that left at `sent` is blocked. Whether it is to be tried again."""
        target = target_of(item.call)
        match self._keys.blocked(target, outcome, sent, item.sampled):
            case "prepare":
                item.sampled = True
                async with self._lock:
                    if outcome.lost:
                        self._lose(target)
                    self._prepared.discard(target)
                    await self._prepare({target: item.call})
                    self._keys.prepared(target, self._clock())
            case "again":
                async with self._lock:
                    pass
            case _:
                self.block(target, outcome.words)
                return False
        return True

    def block(self, target: Target, words: str) -> None:
        """Let the calls of the key wait until somebody fixes what they need."""
        self._keys.waiting[target] = words
        self._report.blocked[target.key] = words

    def forget(self) -> None:
        """Something may have been fixed: look at everything anew."""
        self._keys.waiting.clear()
        self._suspects.scopes.clear()
        self._prepared.clear()
        self._report.blocked.clear()
