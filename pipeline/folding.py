"""Folding: the half of a service that decides. It has a process of its own, so that no request waits for it.

    what is new in the event files ─┐
    what is new in the tables ──────┤
    receipts ───────────────────────┤
    dead letters to be tried again ─┼─ fold ─ logs
    profiles to be looked at anew ──┘
    (after the workspace changed)

Each has its portion in turn, so that none waits for another's backlog. What counts is in the state directory when a
portion is done: a kill loses nothing.
"""

import signal
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Literal, NamedTuple

from pipeline import watch
from pipeline.children import die_with_parent
from pipeline.decider import Decided, Decider
from pipeline.disk import StoreError
from pipeline.feed import Feed
from pipeline.inbox import remove_folded
from pipeline.replay import Wanted
from pipeline.replaying import Replaying
from pipeline.run_folder import forget_runs
from pipeline.table_feed import Served, Standing, TableFeed
from transforms.logic.portion import parse_lines

TURN = 0.5  # seconds between turns in which there is nothing to do
_PROFILES = 1_000  # in a portion, when all are looked at anew
_RECEIPTS = 1_000  # in a portion
_SURE = 5.0  # seconds between looks into logs that seem to have nothing new
_RECEIPTS_FOR = 0.1  # seconds of one turn
_PAUSES = (1.0, 2.0, 5.0, 10.0, 30.0)  # seconds until the state is tried again that could not be used
_PRUNE = 3600.0  # seconds

Order = Decider | Served | Wanted | Literal["pause", "go on", "stop"]


class Turned(NamedTuple):
    """What one turn of folding did."""

    counts: dict[str, int] = {}
    trouble: str = ""  # why nothing can be folded now
    unreadable: tuple[str, ...] = ()  # what cannot be read, and why
    paused: bool = False
    sources: Mapping[str, Standing] = {}


def start_folding(
    events: Sequence[str], state: Path, accepted: bool
) -> "tuple[Connection[Order, Turned], BaseProcess]":
    """A process that folds the files of these patterns, and the tables it is told of, when it is given a decider.

    `accepted`: what needs consent in tables has it, the first time that they are read.
    To be called while the process has no other thread, and holds no lease.
    """
    here, there = get_context("fork").Pipe()
    process = get_context("fork").Process(
        target=_fold, args=(here, there, events, state, accepted), name="folding", daemon=True
    )
    process.start()
    there.close()
    return here, process


def _fold(
    theirs: "Connection[Order, Turned]",
    pipe: "Connection[Turned, Order]",
    events: Sequence[str],
    state: Path,
    accepted: bool,
) -> None:
    theirs.close()  # or the end of the service would not be heard
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # they are the service's, which tells what to do
    die_with_parent()
    tables = TableFeed(state, accepted)
    try:
        with suppress(EOFError, BrokenPipeError):  # the service was killed
            _Folding(pipe, events, tables).loop()
    finally:
        tables.end()


class _Folding:
    def __init__(self, pipe: "Connection[Turned, Order]", events: Sequence[str], tables: TableFeed) -> None:
        self._pipe, self._events, self._tables = pipe, events, tables
        self._decider: Decider | None = None
        self._feed: Feed | None = None
        self._receipts: Iterator[Decided] = iter(())
        self._counts: Counter[str] = Counter()
        self._ticking: Iterator[Decided] = iter(())
        self._replaying = Replaying()
        self._troubles = 0
        self._sure = 0.0  # when every log was looked into
        self._told, self._last = 0.0, Turned()
        self._pruned = time.monotonic()

    def loop(self) -> None:
        pause: float | None = None  # until there is something to decide with
        while True:
            while self._pipe.poll(pause):
                order = self._pipe.recv()
                if order == "stop":
                    return
                pause = self._obey(order)
            pause = self._turn()

    def _obey(self, order: Order) -> float | None:
        if order == "pause":
            if self._decider:
                self._decider.close()  # logs may be renamed meanwhile
                self._receipts = iter(())
            self._pipe.send(Turned(paused=True))
            return None
        if isinstance(order, Wanted):
            self._replaying.want(order)
        if isinstance(order, Served):
            self._tables.take_over(order)
            return None  # a decider comes with it
        if isinstance(order, Decider):
            if self._decider:
                self._decider.close()
            self._decider = order
            self._begin_folding()
        return 0.0

    def _begin_folding(self) -> None:
        """Begin with what is on the disk."""
        assert self._decider
        self._receipts = iter(())
        self._ticking = self._decider.ticks(_PROFILES)
        if self._feed:
            self._feed.begin_anew()

    def _turn(self) -> float:
        """Fold a portion of everything that there is to do; how long to wait for the next turn."""
        assert self._decider
        trouble, pause = "", 0.0
        try:
            self._decider.at(datetime.now(UTC))
            busy = [self._fold_files(self._decider), self._fold_receipts(self._decider), self._fold_tick()]
            busy.append(self._fold_tables(self._decider))
            if not any(busy):  # a dead letter counts when its receipt is folded
                busy.append(self._fold_replay(self._decider))
            pause = 0.0 if any(busy) else TURN
            self._troubles = 0
            if time.monotonic() - self._pruned > _PRUNE:
                self._tidy(self._decider)
        except StoreError as error:  # the disk is full, perhaps: nothing is lost, and it may be fixed meanwhile
            trouble = str(error)
            self._troubles += 1
            pause = _PAUSES[min(self._troubles, len(_PAUSES)) - 1]
            self._begin_folding()
        self._tell(trouble)
        return pause

    def _fold_files(self, decider: Decider) -> bool:
        """Fold one portion of news of the files; whether there was any."""
        if self._feed is None:
            seen = {path: watch.decode_seen(known) for path, known in decider.db.files().items()}
            self._feed = Feed(self._events, seen)
        self._feed.look()
        if not (pieces := self._feed.take()):
            return False
        parsed = parse_lines([piece.lines for piece in pieces], decider.plan)
        self._count(decider.fold_parsed(parsed))
        decider.db.remember_files({piece.path: watch.encode_seen(piece.seen) for piece in pieces if piece.seen})
        self._feed.took(pieces)
        return True

    def _fold_tables(self, decider: Decider) -> bool:
        """Fold one portion of what is new in a table; whether there was any."""
        self._tables.look(decider.db)
        if (lines := self._tables.take()) is None:
            return False
        if lines.lines:
            self._count(decider.fold_parsed(parse_lines([lines], decider.plan)))
        self._tables.took(decider.db)
        return True

    def _fold_receipts(self, decider: Decider) -> bool:
        """Fold receipts for a while; whether there are more."""
        until = time.monotonic() + _RECEIPTS_FOR
        while time.monotonic() < until:
            if (part := next(self._receipts, None)) is None:
                passing = time.monotonic() - self._sure < _SURE
                if not passing:
                    self._sure = time.monotonic()
                self._receipts = decider.receipts(_RECEIPTS, passing)
                if (part := next(self._receipts, None)) is None:
                    return False
            self._count(part)
        return True

    def _fold_tick(self) -> bool:
        """Fold one portion of the profiles that are looked at anew; whether there was any."""
        part = next(self._ticking, None)
        if part is not None:
            self._count(part)
        return part is not None

    def _fold_replay(self, decider: Decider) -> bool:
        """Fold one portion of the dead letters that are tried again; whether there was any."""
        part = self._replaying.fold(decider)
        if part is not None:
            self._count(part)
        return part is not None

    def _tidy(self, decider: Decider) -> None:
        self._pruned = time.monotonic()
        decider.db.prune(time.time())
        forget_runs(decider.folder, time.time())
        if self._feed:
            remove_folded(decider.folder, self._feed.knows, time.time())
            decider.db.remember_files({}, gone=self._feed.forget())

    def _count(self, decided: Decided) -> None:
        self._counts.update(counted(decided))

    def _tell(self, trouble: str) -> None:
        """Tell the main process now and then that folding goes on."""
        unreadable = tuple(self._feed.unreadable.values()) if self._feed else ()
        turned = Turned(dict(self._counts), trouble, unreadable, sources=self._tables.standings())
        if turned != self._last or time.monotonic() - self._told > TURN:
            self._pipe.send(turned)
            self._told, self._last = time.monotonic(), turned._replace(counts={})
            self._counts.clear()


def counted(decided: Decided) -> dict[str, int]:
    """The counts of a portion that a service shows."""
    told = {"events": decided.input.get("read", 0), "unusable": decided.input.get("dead_letters", 0)}
    told |= {"calls": sum(decided.made.values())} | decided.settled
    return {name: number for name, number in told.items() if number}
