"""Many changes of few people, through a sender that is stopped or killed now and then: the newest value is told last.

Windows are small, so that calls replace others in memory, in the log behind it, and over the end of a process.
"""

import time
from random import Random
from typing import Any

import pytest

from schemas.calls import Call
from schemas.workspace import Cap
from tests.sending.delivering import placed, start, webhook
from tests.sending.memory_log import MemoryLog
from tests.sending.test_netting import NOT_TOLD, ask, cancel, options
from tests.sending.vendor_server import Answer, VendorServer
from transforms.logic import lanes
from transforms.sending import passed_over, pump

__all__ = ["options"]  # a fixture
PEOPLE = 12


class Changes:
    """What a fold would ask, of a value that changes all the time; it hears of receipts now and then."""

    def __init__(self, random: Random) -> None:
        self.newest: dict[int, Call] = {}
        self._random, self._ask = random, 0
        self._has: dict[int, bytes | None] = {}  # digest of what the vendor has, as far as receipts say
        self._heard: set[int] = set()
        self._stray: dict[int, float] = {}  # until when an older value may land on top

    def write(self, log: MemoryLog, number: int) -> None:
        for _ in range(number):
            person = self._random.randrange(PEOPLE)
            before = self.newest.get(person)
            if before and self._random.random() < 0.08:
                self._ask += 1
                log.append(cancel(self._ask, person))
            self._ask += 1
            waits = before is not None and before.ask not in log.receipts
            made = ask(
                self._ask, self._random.random() < 0.5, person, before=self._has.get(person, NOT_TOLD),
                replaces=before.ask if before and waits else 0, backfill=self._random.random() < 0.3,
            )  # fmt: skip
            [self.newest[person]] = placed([made])  # type: ignore[list-item]
            log.append(self.newest[person])

    def hear(self, log: MemoryLog) -> None:
        for number in sorted(log.receipts.keys() - self._heard):
            self._heard.add(number)
            receipt = log.receipts[number]
            if receipt.kind == "cancel":
                continue
            person = int(receipt.profile_id[1:])
            self._stray[person] = max(self._stray.get(person, 0.0), receipt.unsure_until)
            if receipt.fate == "delivered" or receipt.maybe:
                sure = receipt.fate == "delivered" and self._stray[person] <= receipt.at
                self._has[person] = receipt.value if sure else None


@pytest.mark.parametrize("seed", range(12))
def test_the_vendor_ends_with_the_newest_values(
    server: VendorServer, options: Any, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    random = Random(seed)
    monkeypatch.setattr(pump, "_CHUNK", random.choice([3, 10, 1_000]))
    monkeypatch.setattr(pump, "_LOOK", 0.02)
    monkeypatch.setattr(lanes, "_FEWEST", random.choice([3, 10, 2_000]))
    monkeypatch.setattr(passed_over, "LONGEST", random.choice([0.0, 0.3, 600.0]))
    down = random.choice([0.0, 0.1])
    server.script = lambda seen: Answer(503) if random.random() < down else Answer(delay=random.choice([0.0, 0.02]))
    changes, log = Changes(random), MemoryLog()
    for _ in range(3):
        changes.write(log, 60)
        running = start([], webhook(cap=Cap(200, 1.0)), options, log=log, follow=True)
        for _ in range(40):
            time.sleep(0.01)
            changes.hear(log)
            changes.write(log, random.randrange(4))
        if random.random() < 0.5:
            running.sender.stop()
            running.future.result(20.0)
        log = log.kill()
        running.sender.stop()
        running.future.exception(20.0)  # what it had in flight lands, or not
    start([], webhook(cap=Cap(500, 1.0)), options, log=log).future.result(30.0)

    assert log.receipts.keys() == log.calls.keys(), "each call has an outcome"
    has = {seen.json["traits"]["email"]: seen.json["traits"]["big_spenders"] for seen in server.taken}
    for call in changes.newest.values():
        # A fold asks again what may have been told; that is its part, and not done here.
        assert has.get(call.identifier.id, False) == call.value or log.receipts[call.ask].maybe
