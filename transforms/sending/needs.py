"""Needs: what calls of a key need at the vendor (a list, a field): made or found ahead of them, and made again."""

import asyncio
from collections.abc import Callable, Sequence
from copy import deepcopy
from typing import Any

from schemas.calls import Call
from schemas.outcomes import Blocked
from schemas.report import Report
from transforms.destinations.contract import Destination
from transforms.logic.blame import Keys
from transforms.sending.admission import key_of
from transforms.sending.attempts import Attempts
from transforms.sending.books import Books
from transforms.sending.suspects import Suspects
from transforms.sending.talk import Accused, Divided, Stopped, Talk, Unanswered

MEMORY = "memory"  # the fact that holds what the destination remembers

Key = tuple[str, str]


class Needs:
    """What the keys of one connection need."""

    def __init__(
        self,
        destination: Destination,
        attempts: Attempts,
        keys: Keys,
        memory: dict[str, Any],
        books: Books,
        suspects: Suspects,
        report: Report,
        clock: Callable[[], float],
    ) -> None:
        self._destination, self._attempts, self._keys, self._memory = destination, attempts, keys, memory
        self._books, self._suspects, self._report, self._clock = books, suspects, report, clock
        self.any = type(destination).prepare is not Destination.prepare
        self._lock = asyncio.Lock()
        self._prepared: set[Key] = set()
        self._remembered = deepcopy(memory)

    async def prepare(self, calls: Sequence[Call]) -> None:
        """Prepare the keys of these calls that are not prepared yet. Raises Ended."""
        if all(key_of(call) in self._prepared for call in calls):
            return
        async with self._lock:
            fresh: dict[Key, Call] = {}
            for call in calls:
                key = key_of(call)
                if call.kind != "delete" and key not in self._prepared and key not in self._keys.waiting:
                    fresh.setdefault(key, call)
            if fresh:
                await self._prepare(list(fresh.values()))

    async def _prepare(self, samples: list[Call]) -> None:
        try:
            await self._attempts.talk(self._destination.prepare(samples, self._memory), Talk(1))
        except Unanswered as error:
            raise Stopped(f"what its calls need could not be prepared: {error}") from error
        except (Divided, Accused) as end:
            if len(samples) > 1:  # one after the other: the fault may be one key's
                for sample in samples:
                    await self._prepare([sample])
                return
            if isinstance(end, Accused) and not self._suspects.acknowledged:
                raise Stopped(self._suspects.words(end)) from end
            self.block(key_of(samples[0]), str(end))
        finally:
            self.remember()
        self._prepared.update(key_of(call) for call in samples)

    def remember(self) -> None:
        """Keep what the destination has learnt, for later runs."""
        if self._memory != self._remembered:
            self._remembered = deepcopy(self._memory)
            self._books.remember({MEMORY: self._remembered})

    async def blocked(self, call: Call, outcome: Blocked, sent: float) -> bool:
        """A call of a request that left at `sent` is blocked. Whether it is to be tried again."""
        key = key_of(call)
        match self._keys.blocked(key, outcome, sent):
            case "prepare":
                async with self._lock:
                    self._prepared.discard(key)
                    await self._prepare([call])
                    self._keys.prepared(key, self._clock())
            case "again":
                async with self._lock:
                    pass
            case _:
                self.block(key, outcome.words)
                return False
        return True

    def block(self, key: Key, words: str) -> None:
        """Let the calls of the key wait until somebody fixes what they need."""
        self._keys.waiting[key] = words
        self._report.blocked[key[1]] = words

    def forget(self) -> None:
        """Something may have been fixed: look at everything anew."""
        self._keys.waiting.clear()
        self._suspects.scopes.clear()
        self._prepared.clear()
        self._report.blocked.clear()
