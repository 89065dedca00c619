"""Readers take turns: each client has a cell with its place, and a timer of the engine that lets it read on.

Beam has a wrapper for unbounded sources. It ends a bundle by leaving a rest, and on Flink each rest is a state with a
name of its own: one more column family of RocksDB, for good, several in a second. So a job stood still after minutes.
"""

import os
import time
from collections.abc import Callable, Iterator
from typing import Any

import apache_beam as beam
from apache_beam.coders import BytesCoder
from apache_beam.transforms.timeutil import TimeDomain
from apache_beam.transforms.userstate import ReadModifyWriteStateSpec, TimerSpec, on_timer
from apache_beam.utils.timestamp import Timestamp

from pipeline.streaming.source import KafkaMark, KafkaReader, KafkaSource, decode_place, encode_place

_RECORDS = 5_000  # of one turn
_SECONDS = 0.5


class TakeTurns(beam.PTransform):  # type: ignore[misc]
    """(client, packed `KafkaSource`) → its records, as (topic, key, value), for ever."""

    def expand(self, clients: beam.PCollection) -> beam.PCollection:
        read = clients | "Turn" >> beam.ParDo(_TurnFn()).with_outputs("marks", main="records")
        read.marks | "Final" >> beam.ParDo(_FinalFn())
        return read.records


class _TurnFn(beam.DoFn):  # type: ignore[misc]
    PLACE = ReadModifyWriteStateSpec("place", BytesCoder())
    TURN = TimerSpec("turn", TimeDomain.REAL_TIME)

    def setup(self) -> None:
        self._readers: dict[bytes, tuple[bytes, KafkaReader]] = {}  # by client, with the place that it left

    def process(
        self,
        element: tuple[bytes, bytes],
        place: Any = beam.DoFn.StateParam(PLACE),
        turn: Any = beam.DoFn.TimerParam(TURN),
    ) -> None:
        place.write(element[1])
        turn.set(Timestamp.of(time.time()))

    @on_timer(TURN)  # type: ignore[misc]
    def read(
        self,
        client: bytes = beam.DoFn.KeyParam,
        place: Any = beam.DoFn.StateParam(PLACE),
        turn: Any = beam.DoFn.TimerParam(TURN),
    ) -> Iterator[Any]:
        held = place.read()
        left, reader = self._readers.pop(client, (b"", None))
        if reader is None or left != held:  # another process read on meanwhile, or the job began again
            reader = decode_place(held).create_reader(None, None)
        yield from _records(reader)
        mark = reader.get_checkpoint_mark()
        after = encode_place(reader.at(mark))
        if after != held:
            place.write(after)
        self._readers[client] = after, reader
        yield beam.pvalue.TaggedOutput("marks", (os.getpid(), mark))
        turn.set(Timestamp.of(time.time()))


def _records(reader: KafkaReader, clock: Callable[[], float] = time.monotonic) -> Iterator[tuple[str, bytes, bytes]]:
    until = None
    for _ in range(_RECORDS):
        if not reader.advance():
            return
        yield reader.get_current()
        until = until or clock() + _SECONDS
        if clock() >= until:
            return


class _FinalFn(beam.DoFn):  # type: ignore[misc]
    """What a bundle has read may be committed when the engine has it for good. A timer is not told so."""

    def process(self, element: tuple[int, KafkaMark], bundle: Any = beam.DoFn.BundleFinalizerParam) -> None:
        process, mark = element
        if process != os.getpid():
            mark.ended = 0.0  # by another clock
        bundle.register(mark.finalize_checkpoint)


__all__ = ["KafkaSource", "TakeTurns"]
