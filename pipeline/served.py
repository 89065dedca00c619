"""Served: the connections of a service. Each is delivered all the time; what stopped is tried again after a while."""

import time
import traceback
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from contextlib import suppress
from math import ceil, inf, isinf
from typing import Any

from pipeline.ages import oldest_change, oldest_waiting
from pipeline.alerting import Alerting
from pipeline.commands.output import noted
from pipeline.delivering import Deliveries, Delivering, counts_of, reports
from pipeline.disk import StoreError
from pipeline.moments import rfc3339
from pipeline.paused import keep_paused, paused, renamed
from pipeline.run import RunOptions
from schemas.registry import Registry
from schemas.report import Report, Tally
from schemas.workspace import Connection
from transforms.logic.estimate import time_left
from transforms.logic.plan import Plan
from transforms.sending.sender import shared_sender

_LOOK = 0.3  # seconds between looks at what those that run say
_ELSEWHERE = 5.0  # seconds between looks whether another process still delivers it
_WELL = 5.0  # seconds without trouble, until that is said
_ENDING = 30.0  # seconds that a connection may take to end

Say = Callable[..., None]


class Served:
    """Delivers the connections of a service. `step` is called now and then, from one thread; `connections` from any."""

    def __init__(self, run: RunOptions, say: Say, sooner: str) -> None:
        """`sooner`: with what it is tried sooner what stopped, in words."""
        self._run, self._say, self._sooner = run, say, sooner
        self._running: dict[str, Delivering] = {}
        self._last: dict[str, Report] = {}  # of connections that do not run now
        self._due: dict[str, float] = {}  # when these are tried again
        self._passing: dict[str, float] = {}  # those that are about to stop for a while, and until when
        self._words: dict[str, str] = {}  # what was said of a connection's trouble
        self._plan: Plan | None = None
        self._well: dict[str, float] = {}  # since when there is none
        self._paused: dict[str, str] = {}  # those that an operator paused, and since when
        self._deliveries: Deliveries | None = None
        self._looked = 0.0
        self._noted: set[str] = set()  # what a destination had to say
        self._alerting = Alerting(run.state, say)
        self.trouble = ""  # of the service itself; whoever has it sets it
        self.sources: Mapping[str, bool | None] = {}  # whether each is in trouble; None: not known yet; set likewise

    def take_over(self, run: RunOptions, plan: Plan, registry: Registry, deliveries: Deliveries | None = None) -> None:
        """Deliver with this workspace from now on. What stopped is tried at once; what runs hands over by itself."""
        kept = paused(run.state) if self._plan is None else self._paused
        self._run, self._plan = run, plan
        self._deliveries = deliveries or Deliveries(run, plan, registry, follow=True)
        self._due.clear()
        if (names := renamed(kept, run.workspace)) != kept:
            with suppress(StoreError):  # the next pause writes it; until then it is known here
                keep_paused(run.state, names)
        self._take_paused(names)

    def pause(self, name: str, since: str) -> None:
        """Send nothing more, until `resume`; requests in flight end. Raises StoreError."""
        if name not in self._paused:
            self._keep_paused({**self._paused, name: since})
        if running := self._running.get(name):
            running.end()

    def resume(self, name: str) -> None:
        """Go on. Raises StoreError."""
        self._keep_paused({each: since for each, since in self._paused.items() if each != name})
        self._due.pop(name, None)

    def _keep_paused(self, names: dict[str, str]) -> None:
        keep_paused(self._run.state, names)
        self._take_paused(names)

    def _take_paused(self, names: dict[str, str]) -> None:
        before, self._paused = self._paused, names
        for name in names.keys() - before.keys():
            self._say("paused", f"since {names[name]}", connection=name)
        for name in before.keys() - names.keys():
            self._say("resumed", connection=name)

    def agree(self, names: dict[str, str]) -> None:
        """Which are paused, and since when, is kept elsewhere: these are they now. Raises StoreError."""
        gone = self._paused.keys() - names.keys()
        if gone or names.keys() - self._paused.keys():
            keep_paused(self._run.state, names)
            self._paused = {name: since for name, since in self._paused.items() if name not in gone}
        for name, since in names.items():
            self.pause(name, since)

    def try_again(self, name: str, after: float) -> None:
        """What stopped it, or is about to, may be over in so many seconds. Safe on any thread."""
        due = self._passing if name in self._running else self._due
        due[name] = time.monotonic() + after

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
            if name not in self._running and name not in self._paused and now >= self._due.get(name, 0.0):
                self._running[name] = self._deliveries.start(name)
        if now - self._looked < _LOOK:
            return
        self._looked = now
        self._say_troubles()
        self._alerting.look(self._run.workspace, self.connections, self.trouble, self.sources)

    def _over(self, name: str, running: "Future[Report]", now: float) -> None:
        try:
            report = running.result()
        except Exception as error:  # a fault of ours ends neither the service nor another connection
            traceback.print_exception(error)
            report = Report(connection=name, destination="", stopped=f"a fault in profilecast: {error!r}")
        if name in self._passing:
            self._due[name] = self._passing.pop(name)
        elif report.elsewhere:
            self._due[name] = now + _ELSEWHERE
        elif report.needs_person or report.stopped:
            self._due[name] = now + self._rest(report)
        for words in report.notes.keys() - self._noted:
            self._noted.add(words)
            self._say("note", noted(words, report.notes[words]), connection=name)
        self._last[name] = report
        shared_sender().forget(name)  # or it would speak for what is begun next, as long as that waits for its turn

    def _say_troubles(self) -> None:
        """Say each trouble once, and when it is over."""
        for name, report in self._reports().items():
            running = name in self._running
            if name in self._paused:
                continue
            if report.stopped:
                self._trouble(name, "stopped", report.stopped, self._when(self._wait(name, report)))
            elif report.elsewhere:
                self._trouble(name, "elsewhere", "another process delivers it")
            elif report.blocked:
                words = "; ".join(f"{key}: {why}" for key, why in sorted(report.blocked.items()))
                self._trouble(name, "blocked", words, self._when(self._run.sender.retry_stopped))
            elif report.trouble:
                self._trouble(name, "trouble", report.trouble)
            elif running and report.silent:
                since, _, cause = report.silent.partition(": ")
                self._trouble(name, "silent", since, cause)
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

    def _wait(self, name: str, report: Report) -> float:
        """Seconds until it is tried again. It may still be ending, with requests in flight."""
        due = self._passing.get(name) if name in self._running else self._due.get(name)
        return self._rest(report) if due is None else due - time.monotonic()

    def _rest(self, report: Report) -> float:
        """Seconds between the end of what stopped and its next beginning."""
        return inf if report.needs_person else self._run.sender.retry_stopped

    def _when(self, seconds: float) -> str:
        if isinf(seconds):
            return f"not tried again by itself, only {self._sooner}"
        return f"tried again in {ceil(max(seconds, 1.0))} s, and {self._sooner}"

    # -- the end

    def end_one(self, name: str) -> bool:
        """End one connection's delivery, and wait for it. Whether nothing goes on any more."""
        running = self._running.get(name)
        if running is None:
            return True
        running.end()
        with suppress(Exception):
            running.result(_ENDING)
        return running.done()

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
        run, plan, now, running = self._run, self._plan, self._reports(), self._running
        if plan is None:
            return {}
        tallies = shared_sender().tallies()
        kinds: dict[str, Connection] = {each.name: each for each in run.workspace.connections}
        found = {}
        for each in plan.connections:
            counts = counts_of(run.state, each.name, each.number, quickly=True)
            destination = kinds[each.name].destination
            report = now.get(each.name) or Report(connection=each.name, destination=destination, cap="")
            oldest, goes = oldest_waiting(run.state, each.name, each.number), each.name in running
            found[each.name] = {
                "destination": destination,
                "waiting": counts.waiting, "delivered": counts.delivered, "rejected": counts.rejected,
                "expired": counts.expired, "superseded": counts.superseded,
                "oldest_waiting": rfc3339(oldest),
                "cap": report.cap, "requests_per_second": round(report.rate, 1) if goes else 0.0,
                "seconds_left": round(_seconds_left(counts.waiting, report)) if goes else 0,
                "scheduled": report.scheduled, "scheduled_until": report.scheduled_until,
                "stopped": report.stopped, "blocked": report.blocked, "trouble": report.trouble,
                "silent": report.silent if goes and counts.waiting else "", "slow": report.slow if goes else "",
                "elsewhere": report.elsewhere and each.name not in self._paused,
                "paused": self._paused.get(each.name, ""),
            }  # fmt: skip
            could_go = counts.waiting > report.scheduled
            silent = report.silent_since if goes else 0.0
            age = oldest_change(run.state, each, destination, silent) if could_go else 0.0
            found[each.name] |= {"oldest_change_seconds": round(age, 1), **(tallies.get(each.name) or Tally()).told()}
        return found


def _seconds_left(waiting: int, report: Report) -> float:
    """A delivery that follows its log does not count what comes, so that its own estimate is of what lay there."""
    return time_left(max(0, waiting - report.scheduled), report.rate, report.requests, report.settled)
