"""A destination and the sandbox in conversation: the sender's decisions on a clock that jumps, without sockets.

calls ─ lanes ─ a batch ─┬─ prepare ─ deliver ─► outcomes
          ▲              └─ refused, or not answered: divided
          └── put off, in a job
"""

from collections.abc import Generator, Iterator, Sequence
from itertools import islice
from random import Random
from typing import TypeVar
from urllib.parse import urlsplit

from sandbox.server import Sandbox
from sandbox.vendor import Request as Arrived
from schemas.calls import Call
from schemas.outcomes import Blocked, Delivered, Expired, Later, Outcome, Rejected, Submitted
from transforms.destinations.auth import NO_SESSION, Session
from transforms.destinations.contract import Destination, Target, target_of
from transforms.destinations.http import Reply, Request, Verdict, held, refused
from transforms.logic.lanes import COLLECT, Item, Lanes
from transforms.logic.limit import Limiter
from transforms.logic.splitting import PARTLY, TAKEN, Answer, Splitting
from transforms.logic.steps import Around, Bounds, Heard, Step, Steps

_PATIENCE = 60.0  # seconds until a call that was put off is tried again, where nobody says when
_TIMES = 20  # how often a call is put off until it expires
_LOOKS, _UNTIL_LOOKED = 10, 600.0  # how often what is missing is looked for, and seconds between
_MOST = 10_000  # requests without an end: something goes round in circles
_NO_ANSWER = Verdict("transient", words="no answer")

T = TypeVar("T")


class Clock:
    """Seconds that pass when somebody waits."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Unmet(Exception):
    """The conversation came to an end that nothing in the sandbox should lead to."""


class _Divided(Exception):
    """A request was refused as a whole, or it alone is not answered."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.words)
        self.answer = answer


class Conversing:
    """Delivers calls of one connection, one conversation at a time; what was asked, and what came of it."""

    def __init__(
        self, destination: Destination, sandbox: Sandbox, clock: Clock, limiter: Limiter | None = None
    ) -> None:
        """`clock` is the sandbox's; without a limiter no cap is kept."""
        self.destination, self.sandbox, self.clock = destination, sandbox, clock
        self.limiter = limiter or Limiter((), 0.0)
        self.sent: list[Request] = []  # every attempt, as its conversation made it: without credentials
        self.arrived: list[Arrived] = []  # the same, as the vendor got it
        self.outcomes: dict[int, list[Outcome | Expired]] = {}  # final ones, by ask
        self.words: list[str] = []  # of the vendor, as reports have them
        self._session: Session | None = None if destination.auth.signs_in else NO_SESSION
        self._prepared: set[Target] = set()
        self._blocked: dict[Target, str] = {}
        self._refused: dict[int, Rejected] = {}
        self._random = Random(0)
        self._lanes = Lanes(destination.route, destination.unit, destination.batch_of)

    def deliver(self, calls: Sequence[Call], read: int = 100_000) -> None:
        """Until every call has its outcome; so many are read ahead."""
        coming = iter(calls)
        while batch := self.take(coming, read):
            self.hold(batch)

    def take(self, coming: Iterator[Call], read: int) -> list[Item] | None:
        """The next batch; the clock goes on to where one is due."""
        lanes = self._lanes
        for call in islice(coming, max(read - sum(lanes.ready.values()), 0)):
            if rejected := self.destination.check(call):
                self._settle(call, rejected)
            else:
                lanes.add(Item(call))
        batch = lanes.take(self.clock.now)
        if not batch and (due := lanes.next_due()) is not None:
            self.clock.now = max(self.clock.now, due)
            batch = lanes.take(self.clock.now)
        return batch

    def hold(self, batch: list[Item]) -> None:
        """The conversation about one batch, and about parts of it, once what its keys need is there."""
        for _ in range(_LOOKS):
            self.prepare([item.call for item in batch])
            if not self._blocked:
                break
            self.clock.now += _UNTIL_LOOKED
        else:
            raise Unmet(f"blocked: {self._blocked}")
        answer = self._tell(batch)
        if answer.what in ("refused", "unanswered"):
            self._divide(batch, answer)

    def prepare(self, calls: Sequence[Call]) -> None:
        """What the keys of these calls need at the vendor."""
        self._blocked = {}
        fresh = {target_of(call): call for call in calls if call.kind != "delete"}
        fresh = {target: call for target, call in fresh.items() if target not in self._prepared}
        if fresh:
            refusals = self.converse(self.destination.prepare(fresh), 1)
            self._prepared.update(fresh.keys() - (refusals or {}).keys())
            self._blocked = dict(refusals or {})

    def done(self, batch: list[Item]) -> None:
        """The calls have their outcomes, whatever they are."""
        for item in batch:
            self._lanes.done(item)

    # -- one batch

    def _tell(self, batch: list[Item], part: bool = False) -> Answer:
        calls, units = [item.call for item in batch], len({item.unit for item in batch})
        try:
            if batch[0].route == COLLECT:
                return self._collect(batch)
            converse = self.destination.forget if calls[0].kind == "delete" else self.destination.deliver
            outcomes = self.converse(converse(calls), units)
        except _Divided as end:
            return end.answer
        if part and units == 1 and all(isinstance(outcome, Rejected) for outcome in outcomes):
            self._refused |= {call.ask: outcome for call, outcome in zip(calls, outcomes, strict=True)}  # type: ignore[misc]
            return Answer("refused", self._refused[calls[0].ask].words)
        return self._conclude(batch, outcomes)

    def _collect(self, batch: list[Item]) -> Answer:
        for job in dict.fromkeys(item.job for item in batch):
            mine = [item for item in batch if item.job == job]
            outcomes = self.converse(self.destination.collect(job, [item.call for item in mine]), 1)
            for item, outcome in zip(mine, outcomes, strict=True):
                item.job = "" if not isinstance(outcome, Submitted) else item.job
            self._conclude(mine, outcomes)
        return PARTLY

    def _conclude(self, batch: list[Item], outcomes: Sequence[Outcome]) -> Answer:
        for item, outcome in zip(batch, outcomes, strict=True):
            match outcome:
                case Delivered() | Rejected():
                    self._settle(item.call, outcome)
                    self._lanes.done(item)
                case Submitted(job, after):
                    item.job = job
                    self._lanes.put_back(item, self.clock.now + after)
                case Later(after):
                    self._put_off(item, _PATIENCE if after is None else after)
                case Blocked(words, prepare):
                    if not prepare:
                        raise Unmet(words)
                    self._prepared.discard(target_of(item.call))
                    self._lanes.put_back(item, 0.0)
        return TAKEN if all(isinstance(outcome, Delivered | Submitted) for outcome in outcomes) else PARTLY

    def _put_off(self, item: Item, seconds: float) -> None:
        """Until so many seconds later, but not for ever."""
        item.put_off += 1
        if item.put_off < _TIMES:
            self._lanes.put_back(item, self.clock.now + seconds)
            return
        self._settle(item.call, Expired())
        self._lanes.done(item)

    def _settle(self, call: Call, outcome: Outcome | Expired) -> None:
        self.outcomes.setdefault(call.ask, []).append(outcome)
        if call.kind == "delete" and isinstance(outcome, Delivered):
            self.clock.now += self.destination.deletion_takes

    def _divide(self, batch: list[Item], answer: Answer) -> None:
        items = {item.call.ask: item for item in batch}
        objects: dict[object, list[int]] = {}
        for ask, item in items.items():
            objects.setdefault(item.unit, []).append(ask)
        splitting = Splitting([tuple(each) for each in objects.values()], answer)
        while (asks := splitting.next()) is not None:
            splitting.answered(self._tell([items[ask] for ask in asks], part=True))
        if splitting.verdict == "whole":
            raise Unmet(splitting.words)
        for found in splitting.bad:
            for ask in found.calls:
                self._settle(items[ask].call, self._refused.get(ask) or refused(Reply(400), words=found.words))
                self._lanes.done(items[ask])
        for found in splitting.later:
            for ask in found.calls:
                self._put_off(items[ask], _PATIENCE)

    # -- one conversation

    def converse(self, conversation: Generator[Request, Reply, T], units: int, renewing: bool = False) -> T:
        """Hold it to its end. Raises what ends it early."""
        return held(conversation, lambda request: self._exchange(request, units, renewing))

    def _exchange(self, request: Request, units: int, renewing: bool) -> Reply:
        """Send one request until there is an answer for its conversation."""
        auth = self.destination.auth
        if not renewing and (self._session is None or self._session.renew_at <= self.sandbox.now()):
            self.sign_in()
        self.clock.now += request.after
        steps = Steps(Bounds(1e9, 1e9, auth.signs_in), self._random, units, renewing=renewing)
        while True:
            reply = self._send(request, units)
            verdict = _NO_ANSWER
            if reply:
                verdict = auth.refused(reply) if renewing else self.destination.classify(request, reply, units)
            self.words.append(verdict.words)
            heard = Heard(verdict.meaning, reply.status if reply else 0, verdict.after, verdict.words)
            step = steps.next(heard, self.clock.now, Around())
            if step.do == "read":
                assert reply
                return reply
            self._follow(step, renewing)

    def _follow(self, step: Step, renewing: bool) -> None:
        """Do what a step says before its request is sent again. Raises _Divided and Unmet."""
        match step.do:
            case "repeat" | "throttled":
                self.clock.now += max(step.after, 0.001)
            case "renew":
                self.sign_in()
            case "divide" | "reject" | "refused" if not renewing:  # in the sandbox, no refusal is the account's own
                raise _Divided(Answer("unanswered" if step.unanswered else "refused", step.words, step.large))
            case _:
                raise Unmet(f"{step.do}: {step.words}")

    def sign_in(self) -> None:
        """Begin a session with the vendor, or the next one."""
        kept = self._session.refresh_token if self._session else ""
        signing_in = self.destination.auth.sign_in(self.destination.settings, kept, self.sandbox.now())
        self._session = self.converse(signing_in, 1, renewing=True)

    def _send(self, request: Request, units: int) -> Reply | None:
        """One attempt, when its turn has come. None: no whole answer came."""
        self.wait_turn(request.endpoint, units)
        if len(self.sent) > _MOST:
            raise Unmet(f"{_MOST} requests, and no end")
        arrived = self._arrived(request)
        self.sent.append(request)
        self.arrived.append(arrived)
        answer, cut, latency = self.sandbox.handle(arrived, self.sandbox.admit(arrived, self.clock.now))
        self.clock.now += latency
        if cut == "hang" or (cut and not 200 <= answer.status < 300):
            return None
        headers = {name.lower(): value for name, value in answer.headers.items()}
        return Reply(answer.status, headers, b"" if cut else answer.body())  # what was cut off was good all the same

    def wait_turn(self, endpoint: str, units: int) -> None:
        """Take the tokens of one request when they are due."""
        self.clock.now += self.limiter.delay(self.clock.now, endpoint, units)
        self.limiter.take(self.clock.now, endpoint, units)

    def _arrived(self, request: Request) -> Arrived:
        """As the vendor gets it."""
        auth, settings, session = self.destination.auth, self.destination.settings, self._session or NO_SESSION
        request = auth.complete(request, settings, session)
        signed = auth.headers(request, settings, session, self.sandbox.now())
        url = urlsplit(request.full_url)
        target = (url.path or "/") + (f"?{url.query}" if url.query else "")
        sent = {**request.all_headers, **{name.lower(): value for name, value in signed.items()}, "host": url.netloc}
        host = url.netloc.lower()
        return Arrived(request.method, host, target, sent, request.body() or b"", self.sandbox.time_at(host))
