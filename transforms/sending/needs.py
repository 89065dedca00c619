"""Needs: what calls of a key need at the vendor (a list, a field): made or found ahead of them, and made again."""

import asyncio
from collections.abc import Callable, Sequence
from copy import deepcopy

from schemas.calls import Call
from schemas.outcomes import Blocked
from schemas.report import Report
from transforms.destinations.contract import Destination, Target, target_of
from transforms.logic.blame import Keys
from transforms.sending.attempts import Attempts
from transforms.sending.books import Books
from transforms.sending.suspects import Suspects
from transforms.sending.talk import Accused, Divided, Stopped, Talk, Unanswered

MEMORY = "memory"  # the fact that holds what the destination remembers


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
        clock: Callable[[], float],
    ) -> None:
        self._destination, self._attempts, self._keys = destination, attempts, keys
        self._books, self._suspects, self._report, self._clock = books, suspects, report, clock
        self.any = type(destination).prepare is not Destination.prepare
        self._lock = asyncio.Lock()
        self._prepared: set[Target] = set()
        self._remembered = deepcopy(destination.memory)

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
            refusals = await self._attempts.converse(self._destination.prepare(targets), Talk(1))
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
        for target, words in (refusals or {}).items():
            self.block(target, words)
        self._prepared.update(targets)

    def remember(self) -> None:
        """Keep what the destination has learnt, for later runs."""
        if self._destination.memory != self._remembered:
            self._remembered = deepcopy(self._destination.memory)
            self._books.remember({MEMORY: self._remembered})

    async def blocked(self, call: Call, outcome: Blocked, sent: float) -> bool:
        """A call of a request that left at `sent` is blocked. Whether it is to be tried again."""
        target = target_of(call)
        match self._keys.blocked(target, outcome, sent):
            case "prepare":
                async with self._lock:
                    self._prepared.discard(target)
                    await self._prepare({target: call})
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
