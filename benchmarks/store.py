"""How fast the state directory is: calls in and out, marks and receipts, subjects; and what a question to it costs.

    python -m benchmarks.store [calls | marks | beside | questions | connections | subjects] [--folder DIR]

A part takes 5 to 40 seconds.
"""

import argparse
import os
import random
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from statistics import quantiles

from benchmarks.machine import facts, peak_memory
from pipeline.log import SqliteLog
from pipeline.sent import make, unsettled, waiting
from pipeline.state_db import StateDb
from schemas.calls import Call, Identifier
from schemas.receipts import Receipt, receipt_of
from transforms.collector import collect_seldom
from transforms.sending.log import Mark, Writing

PARTS = ("calls", "marks", "beside", "questions", "connections", "subjects")
HOOK, NUMBER = "hook", 0
PORTION = 5_000  # subjects or calls in a transaction, as the decider has it
BATCH = 75  # calls in a request: marked together, settled together
FLYING = 8  # requests at once
STATE = 900  # bytes of a subject


def call(ask: int) -> Call:
    who, key, traits = f"profile-{ask:010}", "lifetime_value", {"first_name": "Ana", "plan": "gold"}
    email = Identifier("email", f"customer{ask}@mail.example")
    return Call(who, "identify", email, key, ask % 977, 1_700_000_000_000_000, ask, 3, 1, key, key, traits=traits)


def append(db: StateDb, number: int) -> list[Call]:
    """In portions; what is not known yet is made before."""
    with db.portion() as portion:
        first = next(portion.asks())
        if not portion.knows_file(NUMBER):
            portion.folded(NUMBER, make(db.folder, HOOK), 0)
    calls = [call(first + each) for each in range(number)]
    for part in parts(calls):
        with db.portion() as portion:
            portion.append(NUMBER, part)
    return calls


def parts(items: Sequence[Call]) -> Iterator[Sequence[Call]]:
    for start in range(0, len(items), PORTION):
        yield items[start : start + PORTION]


@contextmanager
def opened(folder: Path) -> Iterator[SqliteLog]:
    log = SqliteLog(folder, HOOK, NUMBER)
    try:
        yield log
    finally:
        log.close()


def say(what: str, figure: str, aim: str = "") -> None:
    print(f"{what:<66} {figure:>16}  {aim}", flush=True)


def seconds(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def the_disk(folder: Path) -> None:
    """What it takes by itself: nothing that is durable is faster."""
    waits = []
    with (folder / "file").open("wb") as file:
        for _ in range(500):
            file.write(bytes(4_096))
            file.flush()
            waits.append(seconds(lambda: os.fsync(file.fileno())))
    say("the disk: 4 KiB are durable: p50, p99", two(waits))


def two(waits: Sequence[float]) -> str:
    cuts = quantiles(waits, n=100)
    return f"{cuts[49] * 1e3:.1f}, {cuts[98] * 1e3:.1f} ms"


# -- calls in and out


def calls_in_and_out(folder: Path, number: int) -> None:
    with StateDb.use(folder) as db:
        calls = append(db, 10)  # everything is warm
        first = calls[-1].ask + 1
        calls = [call(first + each) for each in range(number)]

        def hand_over() -> None:
            for part in parts(calls):
                with db.portion() as portion:
                    portion.append(NUMBER, part)

        taken = seconds(hand_over)
        say("calls appended, in portions of 5,000", f"{number / taken:,.0f}/s", "aim: 150,000/s")
    with opened(folder) as log:

        def read_all() -> None:
            after, left = 0, number
            while left > 0:
                found = log.read(False, after, 5_000)
                after, left = found[-1].call.ask, left - len(found)

        say("calls read, 5,000 at once", f"{number / seconds(read_all):,.0f}/s", "aim: 300,000/s")


# -- marks and receipts


def deliver(log: SqliteLog, calls: Sequence[Call]) -> list[float]:
    """As the sender does: marks of a batch, and when they are durable its receipts. How long each mark took."""
    waits: list[float] = []
    batches = iter([calls[start : start + BATCH] for start in range(0, len(calls), BATCH)])
    guard, done = threading.Lock(), threading.Semaphore(0)

    def begin() -> None:
        with guard:
            batch = next(batches, None)
        if batch is None:
            done.release()
            return
        begun = time.perf_counter()
        marked = log.write(Writing(marks={each.ask: Mark(maybe=True) for each in batch}))
        marked.add_done_callback(lambda _: settle(batch, begun))

    def settle(batch: Sequence[Call], begun: float) -> None:
        waits.append(time.perf_counter() - begun)
        receipts = [receipt_of(each, "delivered", 1_700_000_000.0) for each in batch]
        settled: Future[None] = log.write(Writing(receipts=receipts))
        settled.add_done_callback(lambda _: begin())

    for _ in range(FLYING):
        begin()
    for _ in range(FLYING):
        done.acquire()
    return waits


def marks_and_receipts(folder: Path, calls: Sequence[Call], beside: str) -> None:
    with opened(folder) as log:
        begun = time.perf_counter()
        waits = deliver(log, calls)
        taken = time.perf_counter() - begun
    say(f"calls marked and settled, {BATCH} in a request{beside}", f"{len(calls) / taken:,.0f}/s", "aim: 5,000/s")
    say(f"  a mark is durable{beside}: p50, p99", two(waits), "aim: p99 < 20 ms")


def append_beside(folder: Path, number: int, begun: Path) -> None:
    with StateDb.use(folder) as db:
        begun.touch()
        append(db, number)


def deliver_beside(folder: Path, calls: Sequence[Call], number: int) -> None:
    begun = folder / "begun"
    other = get_context("spawn").Process(target=append_beside, args=(folder, number, begun))
    other.start()
    while not begun.exists():
        time.sleep(0.01)
    marks_and_receipts(folder, calls, f", beside {number:,} appended")
    other.join()


# -- questions


def questions(folder: Path, number: int) -> None:
    """With so many waiting calls, and then with as many receipts that are not folded."""
    with StateDb.use(folder) as db:
        calls = append(db, number)

    def ask(what: str) -> None:
        say(f"{what}: what waits, quickly", ms(seconds(lambda: waiting(folder, HOOK, NUMBER, quickly=True))))
        say(f"{what}: what waits, counted", ms(seconds(lambda: waiting(folder, HOOK, NUMBER))))
        say(f"{what}: whether anything waits", ms(seconds(lambda: unsettled(folder, HOOK, NUMBER))))
        newest = calls[-1].ask
        say(
            f"{what}: whether anything waits behind the newest",
            ms(seconds(lambda: unsettled(folder, HOOK, NUMBER, newest))),
        )
        say(f"{what}: opening the log", ms(seconds(lambda: logs.append(SqliteLog(folder, HOOK, NUMBER)))))
        log = logs.pop()
        say(f"{what}: reading the first 5,000", ms(seconds(lambda: log.read(False, 0, 5_000))))
        log.close()

    logs: list[SqliteLog] = []
    ask(f"{number:,} calls wait")
    receipts: list[Receipt] = [receipt_of(each, "delivered", time.time()) for each in calls]
    with opened(folder) as log:
        for start in range(0, number, PORTION):
            log.write(Writing(receipts=receipts[start : start + PORTION])).result()
    ask(f"{number:,} receipts are not folded")


def ms(taken: float) -> str:
    return f"{taken * 1e3:,.1f} ms"


def many_connections(folder: Path, number: int = 160) -> None:
    names = [f"connection-{each}" for each in range(number)]
    with StateDb.use(folder):
        made = seconds(lambda: [make(folder, name) for name in names])
        logs: list[SqliteLog] = []
        taken = seconds(lambda: logs.extend(SqliteLog(folder, name, each) for each, name in enumerate(names, 1)))
        for log in logs:
            log.close()
        asked = seconds(lambda: [unsettled(folder, name, each) for each, name in enumerate(names, 1)])
    say(f"{number} files of connections made", f"{made:.2f} s")
    say(f"{number} logs opened", f"{taken:.2f} s", "aim: well under 5 s")
    say(f"{number} asked whether anything waits", f"{asked:.2f} s")


# -- subjects


def subjects(folder: Path, number: int) -> None:
    chance = random.Random(7)
    states = [chance.randbytes(STATE) for _ in range(100)]
    with StateDb.use(folder) as db:
        begun = time.perf_counter()
        for start in range(0, number, PORTION):
            with db.portion() as portion:
                portion.put({f"profile-{each:010}": states[each % 100] for each in range(start, start + PORTION)})
        say(f"{number:,} new subjects of {STATE} bytes written", f"{number / (time.perf_counter() - begun):,.0f}/s")
    with StateDb.use(folder) as db:
        names = [f"profile-{each:010}" for each in chance.sample(range(number), 1_000)]
        begun = time.perf_counter()
        with db.portion() as portion:
            found = db.get(names)
            portion.put(dict.fromkeys(found, states[0]))
        say(f"1,000 of {number:,} subjects read and written", ms(time.perf_counter() - begun))
    begun = time.perf_counter()
    with StateDb.use(folder) as db:
        db.bind("benchmark", "")
        db.subjects()
        db.prune(time.time())
    say(f"a run without news over {number:,} subjects: its part here", ms(time.perf_counter() - begun))


def marks(root: Path, number: int, beside: int) -> None:
    with StateDb.use(root) as db:
        calls = append(db, number)
    if beside:
        deliver_beside(root, calls, beside)
    else:
        marks_and_receipts(root, calls, "")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", nargs="*", choices=PARTS, default=list(PARTS))
    parser.add_argument("--million", type=int, default=1_000_000, help="of calls and subjects")
    parser.add_argument("--folder", type=Path, help="on the disk that the state would be on")
    options = parser.parse_args()
    print(facts())
    collect_seldom()  # as every command
    root, million = Path(tempfile.mkdtemp(dir=options.folder)), options.million
    work: dict[str, Callable[[Path], None]] = {
        "calls": lambda folder: calls_in_and_out(folder, million // 4),
        "marks": lambda folder: marks(folder, million // 10, 0),
        "beside": lambda folder: marks(folder, million // 4, million),
        "questions": lambda folder: questions(folder, million),
        "connections": many_connections,
        "subjects": lambda folder: subjects(folder, million),
    }
    try:
        the_disk(root)
        for part in options.part:
            StateDb.create(root / part)
            work[part](root / part)
            shutil.rmtree(root / part)
    finally:
        shutil.rmtree(root)
    print(f"peak memory {peak_memory():,.0f} MB")


if __name__ == "__main__":
    main()
