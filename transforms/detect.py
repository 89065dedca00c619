"""DetectChanges: events meet what is known of their profiles.

Bounded: whole shards, grouped once. Unbounded: one profile at a time, in keyed state. Both use the
same functions of `transforms/logic/`.
"""

from collections.abc import Iterable, Iterator
from typing import Any, Protocol

import apache_beam as beam
from apache_beam.coders import BytesCoder
from apache_beam.transforms.userstate import ReadModifyWriteStateSpec
from msgspec.msgpack import Decoder

from schemas.packing import unpack
from schemas.state import ProfileState, ShardState, decode_profile, encode_profile
from transforms.logic.detect import detect_changes
from transforms.logic.parse import BadRecord
from transforms.logic.plan import Plan
from transforms.logic.shard import Detected, Lines, Past, Profile, Settlement, dead_letter, detect_shard, parser_of

_grouped = Decoder(Lines | Past)


class Previous(Protocol):
    """What the last run left; see `pipeline.store.Run`."""

    def previous_state(self, shard: int) -> ShardState: ...

    def settlements(self, shard: int, past: Past) -> list[Settlement]: ...


class DetectChanges(beam.PTransform):
    """(shard, packed `Lines` and one `Past`) → (shard, `Detected`), for bounded input."""

    def __init__(self, plan: Plan, everyone: bool, previous: Previous) -> None:
        super().__init__()
        self._fn = _DetectShardFn(plan, everyone, previous)

    def expand(self, shards: beam.PCollection) -> beam.PCollection:
        return shards | beam.ParDo(self._fn).with_output_types(tuple[int, Detected])


class _DetectShardFn(beam.DoFn):
    def __init__(self, plan: Plan, everyone: bool, previous: Previous) -> None:
        self._plan, self._everyone, self._previous = plan, everyone, previous

    def process(self, element: tuple[int, Iterable[bytes]]) -> Iterator[tuple[int, Detected]]:
        shard, values = element
        members = [unpack(value, _grouped) for value in values]
        [past] = [member for member in members if isinstance(member, Past)]
        lines = [member for member in members if isinstance(member, Lines)]
        yield (
            shard,
            detect_shard(
                self._previous.previous_state(shard),
                self._previous.settlements(shard, past),
                lines,
                self._plan,
                self._everyone,
                past.retries,
            ),
        )


class DetectChangesByProfile(beam.PTransform):
    """(profile id, raw event) → (profile id, `Profile`), for unbounded input; dead letters under `bad`."""

    def __init__(self, plan: Plan) -> None:
        super().__init__()
        self._fn = _DetectProfileFn(plan)

    def expand(self, events: beam.PCollection) -> Any:
        return events | beam.ParDo(self._fn).with_outputs("bad", main="profiles")


class _DetectProfileFn(beam.DoFn):
    PROFILE = ReadModifyWriteStateSpec("profile", BytesCoder())

    def __init__(self, plan: Plan) -> None:
        self._plan = plan

    def setup(self) -> None:
        self._parse = parser_of(self._plan).parse

    def process(self, element: tuple[str, bytes], cell: Any = beam.DoFn.StateParam(PROFILE)) -> Iterator[Any]:
        profile_id, line = element
        event = self._parse(line)
        if event is None:
            return
        if isinstance(event, BadRecord):
            yield beam.pvalue.TaggedOutput("bad", dead_letter(event, line))
            return
        packed = cell.read()
        state = ProfileState() if packed is None else decode_profile(packed)
        _, changes = detect_changes(state, [event], self._plan)
        known = encode_profile(state)
        if known != packed:  # be it only by the time since when a value holds: a sync without history asks for it
            cell.write(known)
            yield profile_id, Profile(profile_id, state, changes, [])
