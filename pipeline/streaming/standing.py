"""Where the calls of a few people stand among those that wait at a connection, by the topics of the connection."""

from collections.abc import Collection
from contextlib import closing

from msgspec import Struct, field
from msgspec.msgpack import Decoder

from pipeline.streaming.kafka import Kafka, NotRead, ends, partitions, read_all
from pipeline.streaming.log import Kept, read_kept
from pipeline.streaming.places import place_of
from schemas.calls import Call
from schemas.receipts import Receipt
from transforms.sending.log import Mark

_TRIES = 5  # the sender frees what is settled, perhaps while it is read
_call, _receipt = Decoder(Call).decode, Decoder(Receipt).decode


class _Waiting(Struct):
    """A call without a receipt."""

    place: int
    call: Call
    before: int  # calls of its class that wait and were asked earlier


class Standing(Struct):
    """One connection: its calls that wait are counted, those of the people in question are kept."""

    kept: Kept
    counted: dict[bool, int] = field(default_factory=lambda: {False: 0, True: 0})  # live ones, those of a backfill
    mine: dict[str, dict[int, _Waiting]] = {}  # by profile and ask, as the fold numbered it

    def calls_of(self, profile_id: str) -> list[Call]:
        return [each.call for each in self.mine.get(profile_id, {}).values()]

    def marks_of(self, profile_id: str) -> dict[int, Mark]:
        """By ask."""
        mine = self.mine.get(profile_id, {})
        return {ask: self.kept.marks[each.place] for ask, each in mine.items() if each.place in self.kept.marks}

    def before(self, profile_id: str, ask: int) -> int:
        """Calls that go before this one: earlier ones of its class, and all live ones before a backfill."""
        found = self.mine[profile_id][ask]
        return found.before + (self.counted[False] if found.call.backfill else 0)

    def enter(self, place: int, call: Call, people: Collection[str]) -> None:
        """A call that waits, in the order of places."""
        if call.kind == "cancel":
            return
        if call.profile_id in people:
            mine = self.mine.setdefault(call.profile_id, {})
            mine.setdefault(call.ask, _Waiting(place, call, self.counted[call.backfill]))
        self.counted[call.backfill] += 1


def standing(kafka: Kafka, topics: str, people: Collection[str]) -> Standing:
    """`topics`: the connection's name in its topics; where these were deleted, nothing waits. Raises KafkaProblem."""
    if not partitions(kafka, kafka.topic("calls", topics)):
        return Standing(Kept())
    for _ in range(_TRIES):
        try:
            return _standing(kafka, topics, people)
        except NotRead as error:
            last = error
    raise last


def _standing(kafka: Kafka, topics: str, people: Collection[str]) -> Standing:
    """Receipts are read before it is looked up to where all is settled: those that were freed are of calls below."""
    done = {_receipt(each.value or b"").ask for each in read_all(kafka, kafka.topic("sent", topics))}
    found = Standing(read_kept(kafka, topics))
    topic = kafka.topic("calls", topics)
    with closing(kafka.consumer()) as consumer:
        begin = max(found.kept.settled.place - 1, ends(consumer, topic, 0)[0])
    for record in read_all(kafka, topic, {0: begin}):
        if (place := place_of(record.offset)) not in done:
            found.enter(place, _call(record.value or b""), people)
    return found
