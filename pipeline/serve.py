"""`serve`: the run in a loop. Events are folded as they come, and every connection is delivered all the time.

    every half second:  new lines of the event files ─┐
                        receipts ─────────────────────┼─ fold ─ logs ─ senders, which never stop
                        profiles to be looked at anew ┘
                        (after the workspace changed)

Everything that counts is in the state directory when a step is done, so a kill loses nothing.
"""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from pipeline import leases, watch
from pipeline.decider import Decided, Decider, enter_workspace, write_registry
from pipeline.delivering import Deliveries, counts_of, reports
from pipeline.files import find_files
from pipeline.inputs import RECORDS, InputError, check_file, read_blocks
from pipeline.run import NeedsConsent, RunOptions
from pipeline.run_folder import RunFolder
from pipeline.state_db import StateDb
from pipeline.vendors import destinations, vendors
from schemas.report import Report
from schemas.workspace import Workspace
from transforms.logic.detect import micros
from transforms.logic.portion import Lines, parse_lines
from transforms.sending.sender import shared_sender

TICK = 0.5  # seconds between looks at the files
_AGAIN = 60.0  # seconds until a connection that stopped is tried again
_PRUNE = 3600.0  # seconds

Say = Callable[..., None]  # (event, **details): one line for whoever watches


@dataclass(frozen=True)
class ServeOptions:
    """What `profilecast serve` was asked to do."""

    run: RunOptions
    load: Callable[[], Workspace]  # reads the workspace file again; raises WorkspaceError
    changed: Callable[[], float]  # when the file was last written


class Serving:
    """A state directory that is served. `loop` until `stop`; `reload` whenever."""

    decider: Decider

    def __init__(self, options: ServeOptions, say: Say) -> None:
        self.options, self.say = options, say
        self.began = time.time()
        self.counted = Decided()
        self.folded_at = 0.0  # when something was last folded
        self.trouble = ""  # why files cannot be read, or why the workspace was not taken over
        self._stopping, self._reload = threading.Event(), threading.Event()
        self._running: dict[str, Future[Report]] = {}
        self._again: dict[str, float] = {}  # stopped connections: when they are tried again
        self._ticking: Iterator[Decided] = iter(())
        self._unreadable: dict[str, str] = {}
        self._patterns: tuple[float, list[str]] = (0.0, [])

    def stop(self) -> None:
        """Softly: what is in flight ends. Safe in a signal handler."""
        self._stopping.set()
        shared_sender().stop()

    def reload(self) -> None:
        """Take the workspace file over as it is now. Safe in a signal handler."""
        self._reload.set()

    def loop(self) -> None:
        """Raises StoreError, Busy, NeedsConsent and NoState."""
        run = self.options.run
        with StateDb.use(run.state, run.new_state) as db, leases.deciding(run.state):
            db.bind(run.workspace.workspace, run.sender.gateway)
            self._db = db
            self._take_over(run.workspace)
            self.say("serving", state=str(run.state), connections=len(run.workspace.connections))
            try:
                self._steps()
            finally:
                self._end()

    def _steps(self) -> None:
        run = self.options.run
        written, pruned = self.options.changed(), time.time()
        while not self._stopping.is_set():
            busy = self._fold_files()
            busy |= self._fold(self.decider.fold_receipts())
            busy |= self._fold(next(self._ticking, Decided()))
            self._deliver()
            if self._reload.is_set() or self.options.changed() != written:
                self._reload.clear()
                written = self.options.changed()
                self._take_new_workspace()
            if time.time() - pruned > _PRUNE:
                pruned = time.time()
                self._db.prune(pruned)
                RunFolder.prune(run.state, pruned)
            if not busy:
                self._stopping.wait(TICK)

    def _end(self) -> None:
        shared_sender().stop()
        for running in self._running.values():
            running.result()
        self._fold(self.decider.fold_receipts())
        self.decider.close()
        self.say("stopped", waiting={name: each["waiting"] for name, each in self.connections().items()})

    # -- the workspace

    def _take_over(self, workspace: Workspace) -> None:
        run = replace(self.options.run, workspace=workspace)
        self._destinations = destinations(workspace)
        plan, registry, notices = enter_workspace(
            self._db, workspace, vendors(self._destinations), micros(datetime.now(UTC))
        )
        grave = [notice.words for notice in notices if notice.grave]
        if grave and not run.accept_changes:
            raise NeedsConsent("\n".join([*grave, "Nothing was changed. If that is meant, add --accept-changes."]))
        for notice in notices:
            self.say("workspace", words=notice.words)
        if hasattr(self, "decider"):
            self.decider.close()  # a file that it reads may get another name now
        write_registry(self._db, registry)
        self.run = run
        self.decider = Decider(run.state, plan, registry, "serve", run.mask_dead_letters)
        self._ticking = self.decider.ticks()
        self._deliveries = Deliveries(run, plan, registry, follow=True)
        self._again.clear()

    def _take_new_workspace(self) -> None:
        """A file with mistakes changes nothing: the old workspace goes on."""
        try:
            workspace = self.options.load()
            self._take_over(workspace)
        except Exception as error:  # whatever is wrong with the file, the service goes on
            self.trouble = str(error)
            self.say("reload refused", words=self.trouble)
            return
        self.trouble = ""
        self.say("reloaded", connections=len(workspace.connections))

    # -- events

    def _fold_files(self) -> bool:
        """A step of each file that has news; whether there was any."""
        seen = {path: watch.decode_seen(known) for path, known in self._db.files().items()}
        found = list(watch.news(watch.look(self._paths()), seen, time.time()))
        for file, before in found:
            try:
                if watch.grows(file.path):
                    lines, after = watch.read_grown(file, before)
                    self._fold_lines([lines])
                else:
                    after = self._fold_whole(file)
            except (InputError, OSError) as error:
                self._cannot_read(file, str(error))
                continue
            self._unreadable.pop(file.path, None)
            self._db.remember_file(file.path, watch.encode_seen(after))
        return any(watch.grows(file.path) and before.offset < file.size - watch.STEP for file, before in found)

    def _fold_whole(self, file: watch.Found) -> watch.Seen:
        records = check_file(file.path) in RECORDS
        for number, lines in read_blocks(file.path):
            numbers = list(range(number, number + len(lines)))
            self._fold_lines([Lines(file.path, numbers, lines, records)])
        return watch.Seen(file.inode, file.size, file.changed, whole=True)

    def _fold_lines(self, lines: list[Lines]) -> None:
        decider = self.decider.at(datetime.now(UTC))
        self._fold(decider.fold_parsed(parse_lines(lines, decider.plan)))

    def _paths(self) -> list[str]:
        return find_files(self.run.events, self.run.beam_arguments).files if self.run.events else []

    def _cannot_read(self, file: watch.Found, words: str) -> None:
        if self._unreadable.get(file.path) != words:
            self._unreadable[file.path] = words
            self.say("unreadable", words=words)

    def _fold(self, decided: Decided) -> bool:
        if not (decided.input or decided.asked):
            return False
        self.counted.add(decided)
        self.folded_at = time.time()
        made = sum(decided.made.values())
        if decided.input.get("read") or made:
            bad = decided.input.get("dead_letters", 0)
            self.say("folded", events=decided.input.get("read", 0), calls=made, unusable=bad)
        return bool(decided.asked)

    # -- delivering

    def _deliver(self) -> None:
        """Every connection is delivered; one that stopped is tried again after a while."""
        now = time.time()
        for connection in self.run.workspace.connections:
            name = connection.name
            running = self._running.get(name)
            if running is not None and running.done():
                del self._running[name]
                report = running.result()
                if report.stopped:
                    self.say("stopped", connection=name, words=report.stopped)
                    self._again[name] = now + _AGAIN
                elif report.handed_over:
                    self.say("handed over", connection=name)
            if name not in self._running and now >= self._again.get(name, 0.0):
                self._running[name] = self._deliveries.start(name)

    # -- what is said of it

    def connections(self) -> dict[str, dict[str, Any]]:
        """Each connection as it is now."""
        now = {report.connection: report for report in reports()}
        found = {}
        with StateDb.use(self.run.state) as db:
            for plan in self.decider.plan.connections:
                counts = counts_of(self.run.state, db, plan)
                report = now.get(plan.name) or Report(connection=plan.name, destination="")
                found[plan.name] = {
                    "waiting": counts.waiting, "delivered": counts.delivered, "rejected": counts.rejected,
                    "expired": counts.expired, "superseded": counts.superseded, "cap": report.cap,
                    "requests_per_second": round(report.rate, 1), "seconds_left": round(report.seconds_left),
                    "stopped": report.stopped, "blocked": report.blocked, "trouble": report.trouble,
                }  # fmt: skip
        return found

    def status(self) -> dict[str, Any]:
        """`GET /status`."""
        return {
            "workspace": self.run.workspace.workspace,
            "since": self.began,
            "events": dict(self.counted.input),
            "folded_at": self.folded_at,
            "trouble": self.trouble,
            "unreadable": list(self._unreadable.values()),
            "connections": self.connections(),
        }

    @property
    def well(self) -> bool:
        """`GET /healthz`: the loop runs."""
        return not self._stopping.is_set()
