"""Topics are read in turns: each client has a cell with its place, and a timer of the engine that lets it read on.

Beam's wrapper for unbounded sources leaves a state of its own behind with each bundle, on Flink: see decision 18.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import apache_beam as beam
from apache_beam.coders import BytesCoder
from apache_beam.transforms.periodicsequence import PeriodicImpulse
from apache_beam.transforms.timeutil import TimeDomain
from apache_beam.transforms.userstate import ReadModifyWriteStateSpec, TimerSpec, on_timer
from apache_beam.utils.timestamp import Timestamp

from pipeline.streaming.clients import Part
from pipeline.streaming.kafka import Record
from pipeline.streaming.source import MANY, Reader, decode_reading, encode_reading, final, readings
from pipeline.streaming.ticks import ME

_EVER = 100 * 365 * 86_400.0  # seconds
_RECORDS = 5_000  # of one turn
_SECONDS = 0.5
_PLACE = ReadModifyWriteStateSpec("place", BytesCoder())  # a packed `Reading`
_TURN = TimerSpec("turn", TimeDomain.REAL_TIME)


class ReadTopics(beam.PTransform):  # type: ignore[misc]
    """Records of these partitions as (topic, key, value), for ever. Engines divide clients among workers by key."""

    def __init__(self, parts: Sequence[Part], group: str, history: Sequence[Part] = (), clients: int = MANY) -> None:
        super().__init__()
        self._made = [encode_reading(reading) for reading in readings(parts, group, history, clients)]

    def expand(self, root: beam.pvalue.PBegin) -> beam.PCollection:
        # Once, and then not for ever so long: at the end of its input Flink drops a step's timers.
        begun = root | "Begin" >> PeriodicImpulse(start_timestamp=0, fire_interval=_EVER)
        clients = begun | "Clients" >> beam.FlatMap(_numbered, self._made).with_output_types(tuple[bytes, bytes])
        turn = beam.ParDo(_TurnFn()).with_output_types(tuple[str, bytes, bytes], places=tuple[str, float, bytes])
        turn.label = "Turn"
        read = clients | turn.with_outputs("places", main="records")
        read.places | "Final" >> beam.ParDo(_FinalFn())
        return read.records


def _numbered(_: Timestamp, made: Sequence[bytes]) -> Iterator[tuple[bytes, bytes]]:
    return ((b"%d" % number, reading) for number, reading in enumerate(made))


class _TurnFn(beam.DoFn):  # type: ignore[misc]
    """Reads on for one client at a time, from its place. A client's next timer is set when its turn has ended."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock

    def process(
        self,
        element: tuple[bytes, bytes],
        place: Any = beam.DoFn.StateParam(_PLACE),
        turn: Any = beam.DoFn.TimerParam(_TURN),
        bundle: Any = beam.DoFn.BundleFinalizerParam,
    ) -> None:
        if place.read() is None:
            place.write(element[1])
        turn.set(Timestamp.of(self._clock()))
        bundle.register(lambda: None)  # Prism asks only the first of the steps that it runs together; it means `Final`

    @on_timer(_TURN)  # type: ignore[untyped-decorator]
    def read(
        self,
        place: Any = beam.DoFn.StateParam(_PLACE),
        turn: Any = beam.DoFn.TimerParam(_TURN),
    ) -> Iterator[Any]:
        held = place.read()
        reader = Reader(decode_reading(held))
        for record in _records(reader):
            yield record.topic, record.key, record.value or b""
        after = encode_reading(reader.reading())
        if after != held:
            place.write(after)
        yield beam.pvalue.TaggedOutput("places", (ME, time.monotonic(), after))
        if (rest := reader.rest()) is not None:
            turn.set(Timestamp.of(self._clock() + rest))


def _records(reader: Reader) -> Iterator[Record]:
    """Those of one turn."""
    until = 0.0
    for _ in range(_RECORDS):
        record = reader.record()
        if record is None:
            return
        yield record
        until = until or time.monotonic() + _SECONDS
        if time.monotonic() >= until:
            return


class _FinalFn(beam.DoFn):  # type: ignore[misc]
    """Commits what was read when its bundle is final. Beam tells that to the method of an element, not of a timer."""

    def process(self, element: tuple[str, float, bytes], bundle: Any = beam.DoFn.BundleFinalizerParam) -> None:
        process, ended, place = element
        bundle.register(lambda: final(decode_reading(place), ended if process == ME else 0.0))
