"""What other threads want of a service: its own loop does it, between two turns."""

from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as Late
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from pipeline.status_page import Wrong

T = TypeVar("T")
_PATIENCE = 60.0  # seconds


class Busy(Wrong):
    """It was not done."""


class Orders:
    """`ask` from any thread, `carry_out` from the loop's."""

    def __init__(self, patience: float = _PATIENCE) -> None:
        self._patience = patience
        self._asked: SimpleQueue[tuple[Callable[[], Any], Future[Any]]] = SimpleQueue()

    def ask(self, act: Callable[[], T]) -> T:
        """Have it done, and wait for what comes of it. Raises what it raises, and Busy where it was not done."""
        done: Future[T] = Future()
        self._asked.put((act, done))
        try:
            return done.result(self._patience)
        except Late:
            if not done.cancel():
                return done.result()
            raise Busy("the service begins, ends or is busy, and did not come to it; try again") from None

    def carry_out(self) -> None:
        """Do what was asked for since the last time."""
        with suppress(Empty):
            while True:
                act, done = self._asked.get_nowait()
                if done.set_running_or_notify_cancel():
                    self._do(act, done)

    def _do(self, act: Callable[[], Any], done: "Future[Any]") -> None:
        try:
            done.set_result(act())
        except Exception as error:  # who asked hears of it, and the service goes on
            done.set_exception(error)
