"""Topics are read in turns: each client has a cell with its place, and a timer of the engine that lets it read on.

Beam's wrapper for unbounded sources leaves a state of its own behind with each bundle, on Flink: see decision 18.
"""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import apache_beam as beam
from apache_beam.coders import BytesCoder
from apache_beam.transforms.periodicsequence import PeriodicImpulse
from apache_beam.transforms.timeutil import TimeDomain
from apache_beam.transforms.userstate import ReadModifyWriteStateSpec, TimerSpec, on_timer
from apache_beam.utils.timestamp import Timestamp

from pipeline.streaming.kafka import Record
from pipeline.streaming.source import (
    MANY,
    Part,
    Reader,
    decode_reading,
    encode_reading,
    final,
    readings,
)

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
        begun = root | "Begin" >> PeriodicImpulse(fire_interval=_EVER)
        clients = begun | "Clients" >> beam.FlatMap(_numbered, self._made).with_output_types(tuple[bytes, bytes])
        turn = beam.ParDo(_TurnFn())
        turn.label = "Turn"
        read = clients | turn.with_outputs("places", main="records")
        read.places | "Final" >> beam.ParDo(_FinalFn())
        return read.records


def _numbered(_: Timestamp, made: Sequence[bytes]) -> Iterator[tuple[bytes, bytes]]:
    return ((b"%d" % number, reading) for number, reading in enumerate(made))


class _TurnFn(beam.DoFn):  # type: ignore[misc]
    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock

    def setup(self) -> None:
        self._readers = dict[bytes, tuple[bytes, Reader]]()  # by client, with the place that it left

    def process(
        self,
        element: tuple[bytes, bytes],
        place: Any = beam.DoFn.StateParam(_PLACE),
        turn: Any = beam.DoFn.TimerParam(_TURN),
        _: Any = beam.DoFn.BundleFinalizerParam,  # for the step behind: Prism asks only the first one of those it fuses
    ) -> None:
        place.write(element[1])
        turn.set(Timestamp.of(self._clock()))

    @on_timer(_TURN)  # type: ignore[misc]
    def read(
        self,
        client: Any = beam.DoFn.KeyParam,
        place: Any = beam.DoFn.StateParam(_PLACE),
        turn: Any = beam.DoFn.TimerParam(_TURN),
    ) -> Iterator[Any]:
        held = place.read()
        left, reader = self._readers.pop(client, (b"", None))
        if reader is None or left != held:  # another process read on meanwhile, or the job began again
            reader = Reader(decode_reading(held))
        for record in _records(reader):
            yield record.topic, record.key, record.value or b""
        after = encode_reading(reader.reading())
        if after != held:
            place.write(after)
        self._readers[client] = after, reader
        yield beam.pvalue.TaggedOutput("places", (os.getpid(), time.monotonic(), after))
        turn.set(Timestamp.of(self._clock()))


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
    """What a turn has read may be committed when the engine has it for good. A timer is not told of that."""

    def process(self, element: tuple[int, float, bytes], bundle: Any = beam.DoFn.BundleFinalizerParam) -> None:
        process, ended, place = element
        bundle.register(lambda: final(decode_reading(place), ended if process == os.getpid() else 0.0))
