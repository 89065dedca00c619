"""`serve`: events are folded as they come, and every connection is delivered all the time.

    this process:   senders, which never stop; the workspace; what is said of it all
    folding:        what is new in files and receipts, every half second (`pipeline/folding.py`)

They speak through the state directory, and through a pipe: what to decide with, and what was done.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from pipeline import leases, table_feed
from pipeline.decider import Decider, enter_workspace, write_registry
from pipeline.disk import StoreError
from pipeline.feed import check_patterns
from pipeline.folding import TURN, Turned, counted, start_folding
from pipeline.moments import rfc3339
from pipeline.orders import Orders
from pipeline.problems import NeedsConsent, WorkspaceError
from pipeline.replay import Wanted
from pipeline.run import RunOptions
from pipeline.served import Served
from pipeline.served_sources import alarms, news_of, shown
from pipeline.sources import computed_of
from pipeline.state_db import StateDb
from pipeline.vendors import made
from schemas.workspace import Workspace
from transforms.logic.detect import micros
from transforms.logic.registry import known_remade

_SAY = 10.0  # seconds between lines that count what was done
_STUCK = 60.0  # seconds without a turn

Say = Callable[..., None]  # (event, words, **details): one line for whoever watches


@dataclass(frozen=True)
class ServeOptions:
    """What `profilecast serve` was asked to do."""

    run: RunOptions
    load: Callable[[], Workspace]  # reads the workspace file again; raises WorkspaceError
    changed: Callable[[], float]  # when the file was last written; 0: it is not there now


class Serving:
    """A state directory that is served: `loop`, until `stop`."""

    def __init__(self, options: ServeOptions, say: Say) -> None:
        """Raises WrongPattern. To be made while the process has no other thread."""
        check_patterns(options.run.events)
        self.options, self.say = options, say
        self.run = options.run
        self.page = ""  # the address of its status
        self.beside: Callable[[], AbstractContextManager[None]] = nullcontext  # what goes on while it serves
        self.counted: Counter[str] = Counter()
        self.folded_at = 0.0  # when something was last folded, seconds since 1970
        self.refused = ""  # why the workspace file was not taken over
        self.now = Turned()  # what folding said last
        self.began, self._turned = time.time(), time.monotonic()
        self._stopping = self._reloading = False
        self._news: Counter[str] = Counter()  # what is to be said of
        self._said = 0.0
        self._remade: frozenset[tuple[str, str, float]] = frozenset()
        self._decider: Decider | None = None
        self.orders = Orders()
        self._changing = threading.Lock()  # the page waits: it shows one workspace, never half of two
        self.served = Served(self.run, say, "after a reload (SIGHUP)")
        self._pipe, self._folding = start_folding(self.run.events, self.run.state, self.run.accept_changes)

    def stop(self) -> None:
        """Stop, after requests in flight have ended. Safe in a signal handler."""
        self._stopping = True

    def reload(self) -> None:
        """Take the workspace file over as it is now. Safe in a signal handler."""
        self._reloading = True

    def close(self) -> None:
        """End the folding process."""
        self._pipe.close()
        self._folding.join()

    def loop(self) -> None:
        """Serve until `stop`. Raises StoreError, Busy, NeedsConsent and NoState before anything is begun."""
        run = self.run
        with StateDb.use(run.state, run.new_state) as db, leases.deciding(run.state):
            self._db = db
            written = self.options.changed()
            self._take_over(run.workspace, run.accept_changes)
            number, name = len(run.workspace.connections), run.workspace.workspace
            self.say("serving", workspace=name, connections=number, state=str(run.state), status=self.page)
            try:
                with self.beside():
                    self._turns(written)
            finally:
                self._end()

    def _turns(self, written: float) -> None:
        while not self._stopping:
            self._listen(TURN)
            if self._reloading or self.options.changed() not in (written, 0.0):
                self._reloading, written = False, self.options.changed()
                self._reload()
            self.orders.carry_out()
            self.served.step()
            if self.served.remade() - self._remade:
                self._begin_again()
            self._say_news()

    def _listen(self, seconds: float) -> None:
        """Hear what folding says."""
        while self._pipe.poll(seconds):
            self._hear_next()
            seconds = 0.0

    def _hear_next(self) -> None:
        try:
            self._hear(self._pipe.recv())
        except EOFError:
            raise RuntimeError("the folding process has ended; what it said is above") from None

    def _hear(self, turned: Turned) -> None:
        before, self.now, self._turned = self.now, turned, time.monotonic()
        self.served.trouble = turned.trouble
        if turned.counts:
            self.folded_at = time.time()
            self.counted.update(turned.counts)
            self._news.update(turned.counts)
        if turned.trouble and turned.trouble != before.trouble:
            self.say("trouble", turned.trouble)
        if before.trouble and not turned.trouble:
            self.say("goes on")
        for words in turned.unreadable:
            if words not in before.unreadable:
                self.say("unreadable", words)
        self.served.sources = alarms(turned.sources)
        for event, words, name in news_of(before.sources, turned.sources):
            self.say(event, words, source=name)

    def _end(self) -> None:
        self._stopping = True
        with suppress(BrokenPipeError):
            self._pipe.send("stop")
        self.served.end()
        with suppress(EOFError):
            while True:
                self._hear(self._pipe.recv())
        try:
            self._fold_last()
        except StoreError as error:
            self.say("trouble", str(error))
        self._say_news(anyway=True)
        self.say("ended")

    def _fold_last(self) -> None:
        """Fold what the vendors said last."""
        assert self._decider
        for part in self._decider.receipts():
            self._hear(Turned(counted(part)))
        self._decider.close()

    # -- the workspace

    def _take_over(self, workspace: Workspace, accepted: bool) -> None:
        """Decide and deliver with this workspace from now on. Folding waits. If it raises, nothing changed."""
        self._db.bind(workspace.workspace, self.run.sender.gateway)
        vendors = made(workspace).vendors
        plan, registry, notices = enter_workspace(self._db, workspace, vendors, micros(datetime.now(UTC)))
        grave = [notice.words for notice in notices if notice.grave]
        if grave and not accepted:
            raise NeedsConsent("\n".join([*grave, "If that is meant, start the service with --accept-changes."]))
        for connection in workspace.connections:
            self.served.end_one(connection.was)  # its log gets another name
        number = self._db.meta("workspace_number")  # a new one in any case: settings may have changed
        registry.number = max(registry.number, (number if isinstance(number, int) else 0) + 1)
        for notice in notices:
            self.say("workspace", notice.words)
        with self._changing:
            write_registry(self._db, registry)
            self._remade |= known_remade(registry)
            self.run = replace(self.run, workspace=workspace)
            self._decider = Decider(self.run.state, plan, registry, "serve", self.run.sender.mask_dead_letters)
            self._pipe.send(table_feed.Served(workspace.sources, computed_of(workspace)))
            self._pipe.send(self._decider)
            self.served.take_over(self.run, plan, registry)

    def _reload(self) -> None:
        """Take the workspace file over as it is now. A file with mistakes changes nothing."""
        try:
            workspace = self.options.load()
            self._pause()
            self._take_over(workspace, accepted=False)
        except (WorkspaceError, NeedsConsent, StoreError, leases.Busy) as error:
            self.refused = str(error)
        except Exception as error:  # a fault in a destination, perhaps
            self.refused = f"{type(error).__name__}: {error}"
        else:
            self.refused = ""
            self.say("reloaded", connections=len(self.run.workspace.connections))
            return
        self._pipe.send("go on")
        self.say("not reloaded", f"{self.refused}\nThe workspace stays as it was.")

    def _begin_again(self) -> None:
        """What was gone at a vendor was made again: everybody is told it once more."""
        try:
            self._pause()
            self._take_over(self.run.workspace, accepted=True)
        except StoreError as error:
            self.say("trouble", str(error))
            self._pipe.send("go on")

    def _pause(self) -> None:
        """Wait until folding has ended its portion: only one process writes the registry at a time."""
        self._pipe.send("pause")
        while not self.now.paused:
            self._hear_next()

    # -- what an operator wants; to be called through `orders`

    def replay(self, wanted: Wanted) -> None:
        """Have dead letters tried again: folding comes to it in its turns."""
        self._pipe.send(wanted)
        self.say("replay", **({"connection": wanted.connection} if wanted.connection else {}), reason=wanted.reason)

    def pause(self, name: str) -> None:
        """Raises StoreError."""
        self.served.pause(name, rfc3339(time.time()))

    def resume(self, name: str) -> None:
        """Raises StoreError."""
        self.served.resume(name)

    # -- what is said of it

    def _say_news(self, anyway: bool = False) -> None:
        """Say what was done since the last time: at once after a quiet time, then every ten seconds."""
        now = time.monotonic()
        if self._news and (now - self._said >= _SAY or anyway):
            self._said = now
            self.say("done", **self._news)
            self._news.clear()

    def status(self) -> dict[str, Any]:
        """`GET /status`."""
        with self._changing:
            return self._status()

    def _status(self) -> dict[str, Any]:
        now = self.now
        return {
            "workspace": self.run.workspace.workspace,
            "since": rfc3339(self.began),
            "folded_at": rfc3339(self.folded_at),
            "trouble": now.trouble,
            "workspace_refused": self.refused,
            "unreadable": list(now.unreadable),
            "sources": shown(self.run.workspace.sources, now.sources),
            "since_start": {name: self.counted[name] for name in ("events", "unusable", "calls")},
            "connections": self.served.connections(),
        }

    def well(self) -> bool:
        """`GET /healthz`: whether folding goes on."""
        return not self._stopping and not self.now.trouble and time.monotonic() - self._turned < _STUCK


__all__ = ["Say", "ServeOptions", "Serving"]
