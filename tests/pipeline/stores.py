"""For the tests of what lies on disk: a state directory with a connection, calls and receipts by number."""

import os
import resource
import signal
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from pipeline.log import SqliteLog
from pipeline.sent import Receipts, make, path_of
from pipeline.state_db import NAME, StateDb
from schemas.calls import Call, Identifier, Kind
from schemas.dead_letters import DeadLetter
from schemas.receipts import Receipt, receipt_of
from transforms.sending.log import Mark, Writing

HOOK, NUMBER = "hook", 0  # the connection, and its number in the registry
EMAIL = Identifier("email", "ana@x.example")
PROCESSES = get_context("forkserver")
NOBODY_ID = 65_534  # the user without rights


def call(ask: int, kind: Kind = "identify", slot: int = 1, **more: Any) -> Call:
    return Call(f"p{ask}", kind, EMAIL, "vip", True, 1, ask, slot, **more)


def cancel(ask: int) -> Call:
    return call(ask, "cancel", 0)


def delivered(call: Call, at: float | None = None) -> Receipt:
    return receipt_of(call, "delivered", time.time() if at is None else at)


def letter(reason: str = "broken_json", **more: Any) -> DeadLetter:
    return DeadLetter(step="Parse", reason=reason, **more)


def append(db: StateDb, calls: Sequence[Call], connection: str = HOOK, number: int = NUMBER) -> None:
    """As the decider does it."""
    with db.portion() as portion:
        if not portion.knows_file(number):
            portion.folded(number, make(db.folder, connection), 0)
        portion.append(number, calls)


def fold(db: StateDb, connection: str = HOOK, number: int = NUMBER, most: int = 1_000_000) -> list[Receipt]:
    """As the decider does it, at most so many receipts; those that it saw."""
    receipts = Receipts(db.folder, connection)
    known = db.folded(number)
    position = receipts.place(known)
    found = receipts.after(position, most)
    if found or (known and receipts.file_id not in (b"", known[0])):
        with db.portion() as portion:
            portion.free(number, [told.receipt.ask for told in found])
            portion.folded(number, receipts.file_id, found[-1].position if found else position)
    receipts.close()
    return [told.receipt for told in found]


@contextmanager
def opened_log(folder: Path, connection: str = HOOK, number: int = NUMBER) -> Iterator[SqliteLog]:
    log = SqliteLog(folder, connection, number)
    try:
        yield log
    finally:
        log.close()


def settle(folder: Path, calls: Sequence[Call], at: float | None = None) -> None:
    with opened_log(folder) as log:
        log.write(Writing(receipts=[delivered(each, at) for each in calls])).result()


def mark(folder: Path, *calls: Call) -> None:
    with opened_log(folder) as log:
        log.write(Writing(marks={each.ask: Mark(maybe=True) for each in calls})).result()


def asks_in(log: SqliteLog) -> list[int]:
    return [each.call.ask for each in log.read(False, 0, 1_000_000)]


def marks_in(folder: Path) -> dict[int, Mark]:
    """By ask, as they are on the disk."""
    with closing(sqlite3.connect(path_of(folder, HOOK))) as database:
        rows = database.execute("SELECT ask, since, maybe, until, job FROM marks").fetchall()
    return {ask: Mark(since, bool(maybe), until, job) for ask, since, maybe, until, job in rows}


def files(folder: Path) -> list[Path]:
    return [folder / NAME, path_of(folder, HOOK)]


# -- other processes


@contextmanager
def process(work: Callable[..., None], *arguments: Any) -> Iterator[BaseProcess]:
    """Work in a process of its own, which is killed at the end."""
    running = PROCESSES.Process(target=work, args=arguments)
    running.start()
    try:
        yield running
    finally:
        running.kill()
        running.join()


def result_of(work: Callable[..., Any], *arguments: Any) -> Any:
    """What work in a process of its own returns."""
    here, there = PROCESSES.Pipe(duplex=False)
    with process(_send_result, there, work, *arguments):
        there.close()
        return here.recv()


def _send_result(there: Any, work: Callable[..., Any], *arguments: Any) -> None:
    there.send(work(*arguments))


def no_file_longer_than(size: int) -> None:
    """From now on the disk is full, for this process."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def without_rights() -> None:
    """From now on permissions hold for this process too."""
    if os.getuid() == 0:
        os.setgroups([])
        os.setresgid(NOBODY_ID, NOBODY_ID, NOBODY_ID)
        os.setresuid(NOBODY_ID, NOBODY_ID, NOBODY_ID)
