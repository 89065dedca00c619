"""Ticks on their way through a job: each goes with who read it, who hears then that it is folded.

A workspace that is published gives a tick for every profile. They wait in their topic, and not in the job, where every
change would wait behind them.
"""

import threading
import time
from uuid import uuid4

import msgspec
from msgspec.msgpack import Decoder, Encoder

from schemas.facts import Addressed, TickFact
from transforms.logic.background import Background

_ME = uuid4().hex
_lock = threading.Lock()
_background = Background()
_unpacked, _packed = Decoder(Addressed).decode, Encoder().encode


def may_read() -> bool:
    """Whether this process may read one more now."""
    with _lock:
        return _background.may_read(time.monotonic())


def read(value: bytes) -> bytes:
    """A record of the topic of ticks, as it goes on into the job."""
    try:
        about = _unpacked(value)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return value
    if not isinstance(about.fact, TickFact):
        return value
    with _lock:
        about.fact.reader, about.fact.reading = _ME, _background.read(time.monotonic())
    return _packed(about)


def folded(tick: TickFact) -> None:
    """A tick has been folded in this process."""
    if tick.reader == _ME and tick.reading:
        with _lock:
            _background.folded(tick.reading, time.monotonic())
