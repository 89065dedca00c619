"""Books: what is written of one connection: marks ahead of sending, receipts, dead letters, small facts.

Written while an earlier writing is under way, things wait for it and go together: several requests share one
commit.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from typing import Any
from urllib.parse import quote

from msgspec import to_builtins
from msgspec.structs import replace

from schemas.calls import Call
from schemas.dead_letters import DeadLetter, mask, texts_of, without
from schemas.outcomes import Delivered, Expired, Final, Rejected, Superseded
from schemas.receipts import Receipt, receipt_of
from schemas.report import Report, Sample
from transforms.logic.lanes import Item
from transforms.logic.ledger import expiry, refusal
from transforms.sending.delivery import Active
from transforms.sending.log import Attempt, Log, Mark, Writing

_SAMPLES = 5  # rejected calls shown per connection
_SHORT = 200  # characters of a vendor's words that are shown
_READ = 2_000  # characters of them that people are looked for in
_FIX = "fix what the answer complains of, then profilecast replay"
_ADVICE = {
    "missing_required_key": "it goes by itself when the profile has the key",
    "expired": "profilecast replay tries it again",
    "fault": "report it: this is a fault of the destination's module; then profilecast replay",
}

Settled = Callable[[list[int]], None]


class Books:
    """Writes one connection's log. `broken` is called when it cannot be written; nothing is written after that."""

    def __init__(
        self,
        log: Log,
        connection: str,
        active: dict[int, Active],
        report: Report,
        broken: Callable[[OSError], None],
        durable: Settled,
        masked: bool = False,
    ) -> None:
        """`durable` is called with asks whose receipts are on the disk. `masked`: dead letters show no people."""
        self._log, self._connection, self._active, self._report = log, connection, active, report
        self._broken, self._durable, self._masked = broken, durable, masked
        self._next, self._writing = Writing(marks={}, facts={}), False
        self._waiting: list[asyncio.Future[None]] = []  # for what is next
        self._idle: list[asyncio.Future[None]] = []  # for everything
        self._soon = False
        self.failure: OSError | None = None

    # -- marks

    async def mark(self, items: Iterable[Item]) -> None:
        """Mark calls that are about to be sent; on the disk when this returns. Raises OSError."""
        for item in items:
            item.marked = True
            until = item.doubt[1] if item.doubt else 0.0
            self._next.marks[item.call.ask] = Mark(item.since, True, until, item.job)
        await self._written()

    def unmark(self, items: Iterable[Item]) -> None:
        """Take the marks of calls back that surely did not arrive. Of others the marks say what is known of them."""
        for item in items:
            if item.marked and not item.settled:
                item.marked = item.maybe
                self._next.marks[item.call.ask] = _mark(item) if _tells(item) else Mark()
        self._write_soon()

    def put_aside(self, items: Iterable[Item]) -> None:
        """Mark calls that leave memory with what is known of them, so that they come back as they are now."""
        for item in items:
            if _tells(item) or item.marked:
                self._next.marks[item.call.ask] = _mark(item)
        self._write_soon()

    def failed(self, items: Sequence[Item], attempt: Attempt) -> None:
        """Note a request that came to nothing for these calls. Its words have no secrets."""
        calls = [item.call for item in items if not item.settled]
        attempt = attempt._replace(words=impersonal(attempt.words, calls))
        self._next.failed += [(call.ask, attempt) for call in calls]
        self._write_soon()

    # -- receipts

    def settle(self, item: Item, outcome: Final, now: float) -> Receipt:
        """Write the receipt of a call, and its dead letter. `now` in seconds since 1970. The words have no secrets."""
        assert not item.settled, f"{item} has two outcomes"
        item.settled = True
        call, maybe = item.call, item.maybe
        until = item.until if item.until > now else 0.0
        active = self._active.get(call.slot)
        settings = active.settings if active else b""
        match outcome:
            case Delivered():
                receipt = receipt_of(call, "delivered", now, unsure_until=until)
            case Superseded():
                receipt = receipt_of(call, "superseded", now, maybe=maybe, unsure_until=until)
            case Rejected():
                receipt = receipt_of(
                    call, "rejected", now, reason=outcome.reason, maybe=maybe, unsure_until=until,
                    refused=refusal(call, settings),
                )  # fmt: skip
                if outcome.reason == "missing_required_key" and call.kind == "track":  # it waits for it
                    receipt = replace(receipt, call=call)
                self._letter(item, outcome.reason, outcome.words, receipt.refused)
            case Expired():
                receipt = receipt_of(
                    call, "expired", now, maybe=maybe, unsure_until=until, refused=expiry(call, settings)
                )
                self._letter(item, "expired", outcome.words, receipt.refused)
        self._next.receipts.append(receipt)
        if call.kind != "cancel":
            self._count(item, outcome)
        self._write_soon()
        return receipt

    def settle_cancel(self, call: Call, now: float) -> Receipt:
        """Write the receipt of a cancel: there is nothing more that it could take back."""
        receipt = receipt_of(call, "superseded", now)
        self._next.receipts.append(receipt)
        self._write_soon()
        return receipt

    def _letter(self, item: Item, reason: str, words: str, refused: bytes) -> None:
        call = item.call
        letter = DeadLetter(
            step="Deliver",
            reason=reason,
            connection=self._connection,
            payload={name: to_builtins(getattr(call, name)) for name in call.__struct_fields__ if name != "before"},
            answer=words,
            advice=_ADVICE.get(reason, _FIX),
            attempts=item.attempts,
            refused=refused.hex(),
        )
        self._next.dead_letters.append((call.ask, mask(letter) if self._masked else letter))

    def _count(self, item: Item, outcome: Final) -> None:
        report = self._report
        match outcome:
            case Delivered():
                report.delivered += 1
                report.unconfirmed += outcome.unconfirmed
            case Expired():
                report.expired += 1
            case Superseded():
                report.superseded += 1
            case Rejected():
                report.rejected[outcome.reason] = report.rejected.get(outcome.reason, 0) + 1
                if report.rejected[outcome.reason] == 1 or len(report.samples) < _SAMPLES:
                    words = anonymous(outcome.words, item.call) if item.attempts else outcome.words  # else it is ours
                    report.samples.append(Sample(outcome.reason, item.call.key, words))

    # -- facts

    def remember(self, facts: dict[str, Any]) -> None:
        """Write small facts; None forgets one."""
        self._next.facts.update(facts)
        self._write_soon()

    # -- writing

    async def flushed(self) -> None:
        """Wait until everything is on the disk. Raises OSError."""
        if self.failure:
            raise self.failure
        if self._writing or self._soon:
            done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._idle.append(done)
            await done

    async def _written(self) -> None:
        if self.failure:
            raise self.failure
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(done)
        self._write_soon()
        await done

    def _write_soon(self) -> None:
        """Write at the end of this step of the loop, with everything that the step still brings."""
        if not (self._soon or self._writing or self.failure):
            self._soon = True
            asyncio.get_running_loop().call_soon(self._write)

    def _write(self) -> None:
        self._soon = False
        if self._empty:
            self._end_wait()
            return
        writing, waiting = self._next, self._waiting
        self._next, self._waiting = Writing(marks={}, facts={}), []
        self._writing = True
        loop = asyncio.get_running_loop()
        asks = [receipt.ask for receipt in writing.receipts]
        try:
            future = self._log.write(writing)
        except (OSError, RuntimeError) as error:  # the second: the process ends
            self._wrote(waiting, asks, error if isinstance(error, OSError) else OSError(str(error)))
            return
        if future.done():
            loop.call_soon(self._wrote, waiting, asks, future)
        else:
            future.add_done_callback(lambda done: _tell(loop, partial(self._wrote, waiting, asks, done)))

    @property
    def _empty(self) -> bool:
        then = self._next
        return not (then.marks or then.receipts or then.facts or then.failed or self._waiting)

    def _wrote(self, waiting: list[asyncio.Future[None]], asks: list[int], done: "Future[None] | OSError") -> None:
        self._writing = False
        error = done if isinstance(done, OSError) else done.exception()
        if error is not None:
            self._fail(error if isinstance(error, OSError) else OSError(f"{type(error).__name__}: {error}"), waiting)
            return
        self._durable(asks)
        for each in waiting:
            if not each.done():
                each.set_result(None)
        self._write()

    def _fail(self, error: OSError, waiting: list[asyncio.Future[None]]) -> None:
        self.failure = error
        for each in [*waiting, *self._waiting, *self._idle]:
            if not each.done():
                each.set_exception(error)
                each.exception()  # whoever waited may have been cut off
        self._waiting, self._idle = [], []
        self._broken(error)

    def _end_wait(self) -> None:
        for each in self._idle:
            if not each.done():
                each.set_result(None)
        self._idle = []


def _tells(item: Item) -> bool:
    return item.maybe or bool(item.since)


def _mark(item: Item) -> Mark:
    until = item.doubt[1] if item.doubt else item.until  # what a job leaves open, is over with it
    return Mark(item.since, item.maybe, until, item.job)


def _tell(loop: asyncio.AbstractEventLoop, what: Callable[[], None]) -> None:
    with suppress(RuntimeError):  # the loop has ended with the process
        loop.call_soon_threadsafe(what)


def anonymous(words: str, call: Call) -> str:
    """A vendor's words for a printed sample: without the person."""
    return without(words, [call.identifier.id, call.value, call.traits])[:_SHORT]


def impersonal(words: str, calls: Iterable[Call]) -> str:
    """The beginning of a vendor's words about several calls: without any of their people."""
    words = " ".join(words[:_READ].split())
    spelled = words.casefold()
    texts = {
        text
        for call in (calls if words else ())
        for text in texts_of([call.identifier.id, call.profile_id, call.value, call.traits])
        if text.casefold() in spelled or quote(text, safe="").casefold() in spelled
    }
    return without(words, list(texts))[:_SHORT]
