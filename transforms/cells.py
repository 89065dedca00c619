"""Cells of keyed state, those of many keys at once.

Beam's worker asks the engine for one cell, waits for the answer, and asks for the next; and when a bundle ends, it
waits for each cell that is written. A question goes through five threads and two processes. Here the questions about
many keys are under way together. Beam 2.77 has no public way to that, so this reaches into its worker, for cells that
are read over gRPC. Those of other runners are read one by one.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from apache_beam.coders.coder_impl import create_InputStream
from apache_beam.portability.api import beam_fn_api_pb2
from apache_beam.runners.worker.bundle_processor import ReadModifyWriteRuntimeState
from apache_beam.runners.worker.sdk_worker import GrpcStateHandler


class Cell:
    """What a bundle knows of a cell."""

    def __init__(self, held: bytes) -> None:
        self._held, self.written = held, False

    def read(self) -> bytes:
        """b"": nothing was ever written."""
        return self._held

    def write(self, held: bytes) -> None:
        self._held, self.written = held, True


def read(states: Sequence[Any]) -> list[Cell]:
    """The cells behind these states, each a `ReadModifyWriteStateSpec` of bytes, of a key of its own."""
    asked = [_asked(state) for state in states]
    return [Cell(_answer(state, of) or b"") for state, of in zip(states, asked, strict=True)]


def write(cells: Iterable[tuple[Any, Cell]]) -> None:
    """Write the cells that have changed. Over gRPC they are there when this returns, elsewhere at the bundle's end."""
    waiting = []
    for state, cell in cells:
        if not cell.written:
            continue
        handler = _handler(state)
        if handler is None:
            state.write(cell.read())
        else:
            waiting += [(handler, each) for each in _sent(state, cell.read())]
    for handler, future in waiting:
        _wait(handler, future)


def _asked(state: Any) -> tuple[Any, Any] | None:
    """The handler, and its future answer; None: the cell is not read over gRPC."""
    handler = _handler(state)
    if handler is None:
        return None
    get = beam_fn_api_pb2.StateGetRequest()
    return handler, handler._request(beam_fn_api_pb2.StateRequest(state_key=_bag(state)._state_key, get=get))


def _answer(state: Any, asked: tuple[Any, Any] | None) -> bytes | None:
    if asked is None:
        return state.read()  # type: ignore[no-any-return]
    answer = _wait(*asked).get
    if answer.data:
        coder = _bag(state)._value_coder.get_impl()
        return coder.decode_from_stream(create_InputStream(answer.data), True)  # type: ignore[no-any-return]
    return state.read() if answer.continuation_token else None  # there is more behind an empty page


def _sent(state: Any, held: bytes) -> tuple[Any, Any]:
    """Beam's own cell hears nothing of it, so it has nothing to write when the bundle ends."""
    bag = _bag(state)
    handler, key = bag._state_handler, bag._state_key
    return handler.clear(key), handler.extend(key, bag._value_coder.get_impl(), [held])


def _wait(handler: Any, future: Any) -> Any:
    while not future.wait(timeout=1):
        if handler._exception:
            raise handler._exception
        if handler._done:
            raise RuntimeError("the engine ended the connection over which state is read")
    answer = future.get()
    if answer.error:
        raise RuntimeError(answer.error)
    return answer


def _handler(state: Any) -> Any:
    """None: the cell is not read over gRPC."""
    if isinstance(state, ReadModifyWriteRuntimeState):
        handler = getattr(_bag(state)._state_handler, "_underlying", None)
        if isinstance(handler, GrpcStateHandler):
            return handler
    return None


def _bag(state: Any) -> Any:
    return state._underlying_bag_state
