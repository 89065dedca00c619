"""Ticks on their way through a job: how many of them this process has read that are not folded yet.

A workspace that is published gives a tick for every profile. They wait in their topic, and not in the job, where every
change would wait behind them. Behind some of them goes a probe, which the fold, wherever it is, sends back.
"""

import threading
import time
from uuid import uuid4

from msgspec.msgpack import Encoder

from schemas.facts import Addressed, ProbeFact
from transforms.logic.background import Background

ME = uuid4().hex  # this process, among all workers
_lock = threading.Lock()
_background = Background()
_packed = Encoder().encode


def may_read() -> bool:
    """Whether this process may read one more now."""
    with _lock:
        return _background.may_read(time.monotonic())


def read(key: bytes) -> tuple[bytes, bytes] | None:
    """A tick with this key is read. The probe (key and value) that is to go behind it; None: not behind this one."""
    now = time.monotonic()
    with _lock:
        number = _background.read(now)
    if number is None:
        return None
    return f"{ME}:{number}".encode(), _packed(Addressed("", ProbeFact(key, ME, number, now)))


def came_back(probe: ProbeFact) -> None:
    """Every tick is folded that this process read before the probe."""
    if probe.reader == ME:
        with _lock:
            _background.came_through(probe.number, probe.at, time.monotonic())
