"""`serve`: the run in a loop. Events are folded as they come, and every connection is delivered all the time.

    every half second:  what is new in the event files ─┐
                        receipts ───────────────────────┼─ fold ─ logs ─ senders, which never stop
                        profiles to be looked at anew ──┘
                        (after the workspace changed)

Each has its portion in turn, so that none waits for another's backlog. What counts is in the state directory when a
portion is done: a kill loses nothing.
"""

import queue
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from pipeline import leases, watch
from pipeline.decider import Decided, Decider, enter_workspace, renamed_connections, write_registry
from pipeline.disk import StoreError
from pipeline.feed import Feed
from pipeline.problems import WorkspaceError
from pipeline.run import NeedsConsent, RunOptions
from pipeline.run_folder import forget_runs
from pipeline.served import Served
from pipeline.state_db import StateDb
from pipeline.vendors import destinations, vendors
from schemas.workspace import Workspace
from transforms.logic.detect import micros
from transforms.logic.portion import parse_lines

TURN = 0.5  # seconds between turns in which there is nothing to do
_PROFILES = 1_000  # in a portion, when all are looked at anew
_RECEIPTS = 2_000  # in a portion
_RECEIPTS_FOR = 0.2  # seconds of one turn
_SAY = 10.0  # seconds between lines that count what was done
_PAUSES = (1.0, 2.0, 5.0, 10.0, 30.0)  # seconds until the state is tried again that could not be used
_STUCK = 60.0  # seconds without a turn
_PRUNE = 3600.0  # seconds

Say = Callable[..., None]  # (event, words, **details): one line for whoever watches


@dataclass(frozen=True)
class ServeOptions:
    """What `profilecast serve` was asked to do."""

    run: RunOptions
    load: Callable[[], Workspace]  # reads the workspace file again; raises WorkspaceError
    changed: Callable[[], float]  # when the file was last written; 0: it is not there now
    again: float = 300.0  # seconds until what stopped or is blocked is tried again


class Serving:
    """A state directory that is served: `loop`, until `stop`."""

    def __init__(self, options: ServeOptions, say: Say) -> None:
        self.options, self.say = options, say
        self.run = options.run
        self.page = ""  # the address of its status
        self.counted: Counter[str] = Counter()
        self.folded_at = 0.0  # when something was last folded, seconds since 1970
        self.refused = ""  # why the workspace file was not taken over
        self.trouble = ""  # why nothing can be folded now
        self.ending = False
        self.began, self._turned = time.time(), time.monotonic()
        self._decider: Decider | None = None
        self._orders: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._news: Counter[str] = Counter()  # what is to be said of
        self._said = 0.0
        self._troubles = 0

    def stop(self) -> None:
        """Softly: what is in flight ends. Safe in a signal handler."""
        self._orders.put("stop")

    def reload(self) -> None:
        """Take the workspace file over as it is now. Safe in a signal handler."""
        self._orders.put("reload")

    def loop(self) -> None:
        """Raises StoreError, Busy, NeedsConsent, InputError and NoState: nothing was begun."""
        run = self.run
        with StateDb.use(run.state, run.new_state) as db, leases.deciding(run.state):
            self._db = db
            known = {path: watch.decode_seen(seen) for path, seen in db.files().items()}
            self.feed = Feed(run.events, known, lambda words: self.say("unreadable", words))
            self.served = Served(run, self.options.again, self.say)
            written = self.options.changed()
            self._take_over(run.workspace, run.accept_changes)
            number, name = len(run.workspace.connections), run.workspace.workspace
            self.say("serving", workspace=name, connections=number, state=str(run.state), status=self.page)
            try:
                self._turns(written)
            finally:
                self._end()

    def _turns(self, written: float) -> None:
        pause, pruned = 0.0, time.monotonic()
        while (order := self._order(pause)) != "stop":
            if order == "reload" or self.options.changed() not in (written, 0.0):
                written = self.options.changed()
                self._reload()
            pause = self._turn()
            if time.monotonic() - pruned > _PRUNE:
                pruned = time.monotonic()
                self._tidy()

    def _order(self, pause: float) -> str:
        try:
            return self._orders.get(timeout=pause) if pause else self._orders.get_nowait()
        except queue.Empty:
            return ""

    def _turn(self) -> float:
        """A portion of everything that there is to do; how long to wait for the next turn."""
        try:
            self.decider.at(datetime.now(UTC))
            busy = [self._fold_files(), self._fold_receipts(), self._fold_tick()]
            self.served.step()
        except StoreError as error:  # the disk is full, perhaps: nothing is lost, and it may be mended meanwhile
            return self._troubled(error)
        if self.trouble:
            self.say("goes on")
        self.trouble, self._troubles, self._turned = "", 0, time.monotonic()
        self._say_news()
        return 0.0 if any(busy) else TURN

    def _troubled(self, error: StoreError) -> float:
        """What was not folded is taken up anew."""
        if self.trouble != str(error):
            self.trouble = str(error)
            self.say("trouble", self.trouble)
        self.feed.begin_anew()
        self._begin_folding()
        self.served.step()
        self._troubles += 1
        return _PAUSES[min(self._troubles, len(_PAUSES)) - 1]

    def _end(self) -> None:
        self.ending = True
        self.served.end()
        try:
            for part in self.decider.receipts():
                self._count(part)
        except StoreError as error:
            self.say("trouble", str(error))
        self._say_news(anyway=True)
        self.close()
        self.say("ended")

    def _tidy(self) -> None:
        self._db.prune(time.time())
        forget_runs(self.run.state, time.time())
        self._db.remember_files({}, gone=self.feed.forget())

    # -- the workspace

    def _take_over(self, workspace: Workspace, accepted: bool) -> None:
        """Whatever it raises, the one before goes on."""
        made = destinations(workspace)
        self._db.bind(workspace.workspace, self.run.sender.gateway)
        plan, registry, notices = enter_workspace(self._db, workspace, vendors(made), micros(datetime.now(UTC)))
        grave = [notice.words for notice in notices if notice.grave]
        if grave and not accepted:
            raise NeedsConsent("\n".join([*grave, "If that is meant, start the service with --accept-changes."]))
        self.close()
        for was, _ in renamed_connections(self._db, workspace):
            self.served.end_one(was)
        registry.number = max(registry.number, int(str(self._db.meta("workspace_number") or 0)) + 1)
        write_registry(self._db, registry)
        for notice in notices:
            self.say("workspace", notice.words)
        self.run = replace(self.run, workspace=workspace)
        self._decider = Decider(self.run.state, plan, registry, "serve", self.run.sender.mask_dead_letters)
        self._begin_folding()
        self.served.take_over(self.run, plan, registry)

    def close(self) -> None:
        if self._decider:
            self._decider.close()

    @property
    def decider(self) -> Decider:
        assert self._decider
        return self._decider

    def _begin_folding(self) -> None:
        self._receipts: Iterator[Decided] = iter(())
        self._ticking = self.decider.ticks(_PROFILES)

    def _reload(self) -> None:
        """A file with mistakes changes nothing."""
        try:
            self._take_over(self.options.load(), accepted=False)
        except (WorkspaceError, NeedsConsent, StoreError) as error:
            self.refused = str(error)
        except Exception as error:  # a fault in a destination, perhaps
            self.refused = f"{type(error).__name__}: {error}"
        else:
            self.refused = ""
            self.say("reloaded", connections=len(self.run.workspace.connections))
            return
        self.say("not reloaded", f"{self.refused}\nThe workspace stays as it was.")

    # -- folding

    def _fold_files(self) -> bool:
        """One portion; whether there was any."""
        self.feed.look()
        if not (pieces := self.feed.take()):
            return False
        parsed = parse_lines([piece.lines for piece in pieces], self.decider.plan)
        self._count(self.decider.fold_parsed(parsed))
        self._db.remember_files({piece.path: watch.encode_seen(piece.seen) for piece in pieces if piece.seen})
        self.feed.took(pieces)
        return True

    def _fold_receipts(self) -> bool:
        """For a while; whether there were more."""
        until = time.monotonic() + _RECEIPTS_FOR
        while time.monotonic() < until:
            if (part := next(self._receipts, None)) is None:
                self._receipts = self.decider.receipts(_RECEIPTS)
                if (part := next(self._receipts, None)) is None:
                    return False
            self._count(part)
        return True

    def _fold_tick(self) -> bool:
        """One portion; whether there was any."""
        part = next(self._ticking, None)
        if part is not None:
            self._count(part)
        return part is not None

    def _count(self, decided: Decided) -> None:
        told = {"events": decided.input.get("read", 0), "unusable": decided.input.get("dead_letters", 0)}
        told |= {"calls": sum(decided.made.values())} | decided.settled
        if any(told.values()):
            self.folded_at = time.time()
            self.counted.update(told)
            self._news.update(told)

    def _say_news(self, anyway: bool = False) -> None:
        """What was done since the last time: at once after a quiet time, then every ten seconds."""
        now = time.monotonic()
        if not +self._news or (now - self._said < _SAY and not anyway):
            return
        self._said = now
        self.say("done", **+self._news)
        self._news.clear()

    # -- what is said of it

    def status(self) -> dict[str, Any]:
        """`GET /status`."""
        unreadable, served = getattr(self, "feed", None), getattr(self, "served", None)
        return {
            "workspace": self.run.workspace.workspace,
            "since": _time(self.began),
            "folded_at": _time(self.folded_at),
            "trouble": self.trouble,
            "workspace_refused": self.refused,
            "unreadable": list(unreadable.unreadable.values()) if unreadable else [],
            "since_start": {name: self.counted[name] for name in ("events", "unusable", "calls")},
            "connections": served.connections() if served else {},
        }

    def well(self) -> bool:
        """`GET /healthz`: it folds what comes."""
        return not self.ending and not self.trouble and time.monotonic() - self._turned < _STUCK


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z") if seconds else ""


__all__ = ["ServeOptions", "Serving"]
