"""Cells of many keys are read and written together, by Beam's worker from a state service over gRPC."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Timer
from typing import Any

import apache_beam as beam
import grpc
import pytest
from apache_beam.coders import BytesCoder
from apache_beam.coders.coders import GlobalWindowCoder
from apache_beam.portability.api import beam_fn_api_pb2, beam_fn_api_pb2_grpc, endpoints_pb2
from apache_beam.runners.worker.bundle_processor import FnApiUserStateContext
from apache_beam.runners.worker.sdk_worker import GrpcStateHandlerFactory
from apache_beam.runners.worker.statecache import StateCache
from apache_beam.transforms.userstate import ReadModifyWriteStateSpec
from apache_beam.transforms.window import GlobalWindow

from transforms import cells
from transforms.keyed import Keyed, Outlet, _OutletFn

SPEC = ReadModifyWriteStateSpec("profile", BytesCoder())
KEYS = [b"%d" % each for each in range(50)]


class Engine(beam_fn_api_pb2_grpc.BeamFnStateServicer):
    """Keeps cells by key. It answers no question before `together` of them are there, and the last one first.

    After ten seconds it is gone, so whoever waits for an answer before asking for the next does not wait for ever.
    """

    def __init__(self) -> None:
        self.held: dict[bytes, bytes] = {}
        self.asked: list[str] = []
        self.together, self.error, self.first_page_is_empty, self.gone = 1, "", False, False

    def State(self, requests: Any, context: Any) -> Iterator[Any]:
        waiting: list[Any] = []
        late = Timer(10, context.cancel)
        context.add_callback(late.cancel)
        late.start()
        for request in requests:
            if self.gone:
                context.abort(grpc.StatusCode.UNAVAILABLE, "gone")
            self.asked.append(request.WhichOneof("request"))
            waiting.append((request, self._answer(request)))
            if len(waiting) == self.together:
                yield from (answer for _, answer in reversed(waiting))
                waiting = []

    def _answer(self, request: Any) -> Any:
        key = request.state_key.bag_user_state.key
        answer = beam_fn_api_pb2.StateResponse(id=request.id, error=self.error)
        match request.WhichOneof("request"):
            case "get" if self.first_page_is_empty and not request.get.continuation_token:
                answer.get.continuation_token = b"more"
            case "get":
                answer.get.data = self.held.get(key, b"")
            case "clear":
                self.held.pop(key, None)
                answer.clear.SetInParent()
            case "append":
                self.held[key] = self.held.get(key, b"") + request.append.data
                answer.append.SetInParent()
        return answer


class Bundle:
    """A bundle in Beam's worker, with this engine."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._server = grpc.server(ThreadPoolExecutor(2))
        beam_fn_api_pb2_grpc.add_BeamFnStateServicer_to_server(engine, self._server)
        url = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        self._server.start()
        self._factory = GrpcStateHandlerFactory(StateCache(0))
        self._handler = self._factory.create_state_handler(endpoints_pb2.ApiServiceDescriptor(url=url))
        self._context = FnApiUserStateContext(self._handler, "Fold", BytesCoder(), GlobalWindowCoder())

    def __enter__(self) -> "Bundle":
        self._id = self._handler.process_instruction_id("bundle", [])
        self._id.__enter__()
        return self

    def __exit__(self, *problem: object) -> None:
        self._id.__exit__(None, None, None)
        self._factory.close()
        self._server.stop(5).wait()

    def state(self, key: bytes) -> Any:
        return self._context.get_state(SPEC, key, GlobalWindow())

    def states(self) -> list[Any]:
        states = [self.state(key) for key in KEYS]
        assert all(map(cells._handler, states)), "Beam's worker is another one inside: see transforms/cells.py"
        return states

    def write(self, values: dict[bytes, bytes]) -> None:
        """As Beam does it."""
        for key, value in values.items():
            self.state(key).write(value)
        self.commit()

    def commit(self) -> None:
        self._context.commit()
        self._context.reset()
        self.engine.asked.clear()


@pytest.fixture
def bundle() -> Iterator[Bundle]:
    with Bundle(Engine()) as running:
        yield running


def test_all_are_asked_for_before_one_is_answered(bundle: Bundle) -> None:
    values = {key: b"held by " + key for key in KEYS[1:]}
    bundle.write(values)
    bundle.engine.together = len(KEYS)
    found = [each.read() for each in cells.read(bundle.states())]
    assert [b"", *values.values()] == found
    assert ["get"] * len(KEYS) == bundle.engine.asked


def test_all_are_written_before_one_is_answered_and_nothing_is_left_for_the_end(bundle: Bundle) -> None:
    states, changed = bundle.states(), KEYS[::2]
    found = cells.read(states)
    for key, cell in zip(KEYS, found, strict=True):
        if key in changed:
            cell.write(b"of " + key)
    bundle.engine.together = 2 * len(changed)  # to clear, and to append
    bundle.engine.asked.clear()
    cells.write(zip(states, found, strict=True))
    assert len(bundle.engine.asked) == 2 * len(changed)
    bundle.engine.together = 1
    bundle._context.commit()
    assert len(bundle.engine.asked) == 2 * len(changed)
    bundle.commit()
    as_beam_reads = {key: bundle.state(key).read() for key in KEYS}
    assert {key: b"of " + key if key in changed else None for key in KEYS} == as_beam_reads


def test_what_was_written_is_read_by_the_next_in_the_same_bundle(bundle: Bundle) -> None:
    state = bundle.state(b"key")
    for number in range(3):
        [cell] = cells.read([state])
        assert cell.read() == (b"%d" % (number - 1) if number else b"")
        cell.write(b"%d" % number)
        cells.write([(state, cell)])
    bundle.commit()
    assert bundle.state(b"key").read() == b"2"


def test_a_first_page_that_is_empty_is_not_an_empty_cell(bundle: Bundle) -> None:
    bundle.write({b"key": b"value"})
    bundle.engine.first_page_is_empty = True
    assert [b"value"] == [each.read() for each in cells.read([bundle.state(b"key")])]


def test_an_engine_that_cannot_read_or_write_fails_the_bundle(bundle: Bundle) -> None:
    states = bundle.states()
    found = cells.read(states)
    bundle.engine.error = "RocksDB: no space left"
    with pytest.raises(RuntimeError, match="no space left"):
        cells.read(states)
    found[-1].write(b"value")
    with pytest.raises(RuntimeError, match="no space left"):
        cells.write(zip(states, found, strict=True))


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")  # of Beam's thread that reads
def test_an_engine_that_is_gone_fails_the_bundle(bundle: Bundle) -> None:
    bundle.engine.gone = True
    with pytest.raises(grpc.RpcError, match="gone"):
        cells.read(bundle.states())


class _Adds(_OutletFn):
    """Adds up, and says each sum."""

    def _fold(self, element: Keyed, cell: cells.Cell) -> Iterator[Any]:
        key, number = element
        after = int(cell.read() or b"0") + int(number)
        cell.write(b"%d" % after)
        yield key, after
        yield beam.pvalue.TaggedOutput("states", (key, after))


class _Ends(Outlet):
    def __init__(self, engine: Engine) -> None:
        self._engine, self.wrote = engine, 0

    def end(self) -> None:
        self.wrote = self._engine.asked.count("append")


@pytest.mark.parametrize("elements", [1, 249, 250, 251, 600])
def test_a_key_that_comes_again_in_a_bundle_goes_on_with_what_it_had(bundle: Bundle, elements: int) -> None:
    """With 7 keys: among those that are read together, and behind them."""
    outlet, sums = _Ends(bundle.engine), dict[bytes, int]()
    fold, found, expected = _Adds(outlet), list[Any](), list[Any]()
    numbers = [(b"%d" % (number % 7), number) for number in range(elements)]
    for _ in range(2):
        fold.start_bundle()
        for key, number in numbers:
            found += [plain(each) for each in fold._hold((key, b"%d" % number), bundle.state(key))]
            sums[key] = sums.get(key, 0) + number
            expected += [("", (key, sums[key])), ("states", (key, sums[key]))]
        found += [plain(each, at_the_end=True) for each in fold.finish_bundle()]
        assert outlet.wrote >= min(7, elements), "the outlet ends when the cells are written"
        bundle.commit()
    assert expected == found


def plain(output: Any, at_the_end: bool = False) -> tuple[str, Any]:
    """The tag and the value of an output."""
    tag, value = (output.tag, output.value) if isinstance(output, beam.pvalue.TaggedOutput) else ("", output)
    return tag, value.value if at_the_end else value
