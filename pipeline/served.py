"""Served: the connections of a service. Each is delivered all the time; what stopped is tried again after a while."""

import time
import traceback
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from typing import Any

from pipeline.delivering import Deliveries, counts_of, reports
from pipeline.run import RunOptions
from schemas.registry import Registry
from schemas.report import Report
from schemas.workspace import Connection
from transforms.logic.plan import Plan
from transforms.sending.sender import shared_sender

_LOOK = 0.3  # seconds between looks at what those that run say
_ELSEWHERE = 5.0  # seconds between looks whether another process still delivers it
_WELL = 5.0  # seconds without trouble, until that is said
_ENDING = 30.0  # seconds that a connection may take to end

Say = Callable[..., None]


class Served:
    """Delivers the connections of a service. `step` is called now and then, from one thread; `connections` from any."""

    def __init__(self, run: RunOptions, again: float, say: Say) -> None:
        """`again`: seconds until what stopped, or is blocked, is tried again."""
        self._run, self._again, self._say = run, again, say
        self._running: dict[str, Future[Report]] = {}
        self._last: dict[str, Report] = {}  # of connections that do not run now
        self._due: dict[str, float] = {}  # when these are tried again
        self._words: dict[str, str] = {}  # what was said of a connection's trouble
        self._plan: Plan | None = None
        self._well: dict[str, float] = {}  # since when there is none
        self._deliveries: Deliveries | None = None
        self._looked = 0.0

    def take_over(self, run: RunOptions, plan: Plan, registry: Registry) -> None:
        """Deliver with this workspace from now on. What stopped is tried at once; what runs hands over by itself."""
        self._run, self._plan = run, plan
        self._deliveries = Deliveries(run, plan, registry, follow=True)
        self._due.clear()

    def remade(self) -> frozenset[tuple[str, str, float]]:
        """What was gone at a vendor and was made again: connection, `form/key`, when."""
        return frozenset(
            (name, place, at) for name, report in self._reports().items() for place, at in report.remade.items()
        )

    def step(self) -> None:
        """Look after each connection."""
        now = time.monotonic()
        for name in [name for name, running in self._running.items() if running.done()]:
            self._over(name, self._running.pop(name), now)
        assert self._deliveries
        for connection in self._run.workspace.connections:
            name = connection.name
            if name not in self._running and now >= self._due.get(name, 0.0):
                self._running[name] = self._deliveries.start(name)
        if now - self._looked < _LOOK:
            return
        self._looked = now
        self._say_troubles()

    def _over(self, name: str, running: "Future[Report]", now: float) -> None:
        try:
            report = running.result()
        except Exception as error:  # a fault of ours ends neither the service nor another connection
            traceback.print_exception(error)
            report = Report(connection=name, destination="", stopped=f"a fault in profilecast: {error!r}")
        if report.elsewhere:
            self._due[name] = now + _ELSEWHERE
        elif report.paused:
            self._due[name] = float("inf")
        elif report.stopped:
            self._due[name] = now + self._again
        self._last[name] = report

    def _say_troubles(self) -> None:
        """Say each trouble once, and when it is over."""
        for name, report in self._reports().items():
            running = name in self._running
            if report.stopped:
                self._trouble(name, "stopped", report.stopped, self._when(report))
            elif report.elsewhere:
                self._trouble(name, "elsewhere", "another process delivers it")
            elif report.blocked:
                words = "; ".join(f"{key}: {why}" for key, why in sorted(report.blocked.items()))
                self._trouble(name, "blocked", words, self._when(report))
            elif report.trouble:
                self._trouble(name, "trouble", report.trouble)
            elif running and name in self._words and report.delivered:
                self._goes_on(name)

    def _goes_on(self, name: str) -> None:
        """What was blocked is tried again, and may be blocked again."""
        now = time.monotonic()
        if now - self._well.setdefault(name, now) >= _WELL:
            del self._words[name], self._well[name]
            self._say("goes on", connection=name)

    def _trouble(self, name: str, event: str, words: str, more: str = "") -> None:
        self._well.pop(name, None)
        if self._words.get(name) != words:
            self._words[name] = words
            self._say(event, f"{words}; {more}" if more else words, connection=name)

    def _when(self, report: Report) -> str:
        if report.paused:
            return "a reload (SIGHUP) tries it again"
        return f"tried again in {self._again:.0f} s, and after a reload"

    # -- the end

    def end_one(self, name: str) -> None:
        """End one connection's delivery, and wait for it."""
        if running := self._running.get(name):
            shared_sender().end(name)
            with suppress(Exception):
                running.result(_ENDING)

    def end(self) -> None:
        """End all deliveries, after requests in flight have ended."""
        shared_sender().stop()
        for name, running in self._running.items():
            try:
                self._last[name] = running.result()
            except Exception as error:
                traceback.print_exception(error)
        self._say_troubles()

    # -- what is said of it

    def _reports(self) -> dict[str, Report]:
        """The newest report of each connection."""
        names = {connection.name for connection in self._run.workspace.connections}
        found = dict(self._last)
        found.update({each.connection: each for each in reports() if each.connection in self._running})
        return {name: report for name, report in found.items() if name in names}

    def connections(self) -> dict[str, dict[str, Any]]:
        """Each connection as it is now."""
        run, plan, now = self._run, self._plan, self._reports()
        if plan is None:
            return {}
        kinds: dict[str, Connection] = {each.name: each for each in run.workspace.connections}
        found = {}
        for each in plan.connections:
            counts = counts_of(run.state, each.name, each.number, quickly=True)
            destination = kinds[each.name].destination
            report = now.get(each.name) or Report(connection=each.name, destination=destination)
            found[each.name] = {
                "destination": destination,
                "waiting": counts.waiting, "delivered": counts.delivered, "rejected": counts.rejected,
                "expired": counts.expired, "superseded": counts.superseded,
                "cap": report.cap, "requests_per_second": round(report.rate, 1),
                "seconds_left": round(report.seconds_left),
                "scheduled": report.scheduled, "scheduled_until": report.scheduled_until,
                "stopped": report.stopped, "blocked": report.blocked, "trouble": report.trouble,
                "elsewhere": report.elsewhere,
            }  # fmt: skip
        return found
