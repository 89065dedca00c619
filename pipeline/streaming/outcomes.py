"""What became of the calls of a few people, by the topics of a job: receipts as the fold has them, and dead letters."""

from collections.abc import Collection, Mapping

import msgspec
from msgspec import Struct, field
from msgspec.msgpack import Decoder

from pipeline.streaming.by_key import offsets_since, partitions_of
from pipeline.streaming.kafka import Kafka, read_all
from schemas.dead_letters import DeadLetter
from schemas.facts import Addressed, ReceiptFact
from schemas.receipts import Receipt
from schemas.state import ProfileState
from transforms.keyed import key_of

_CLOCKS = 300.0  # seconds that the clocks of workers, senders and brokers may differ
_fact, _letter = Decoder(Addressed).decode, msgspec.json.Decoder(DeadLetter).decode


class Outcomes(Struct):
    """Of one person, in their order."""

    receipts: list[Receipt] = field(default_factory=list)
    dead: list[DeadLetter] = field(default_factory=list)  # of calls

    def letters(self, slots: Collection[int]) -> list[tuple[int, DeadLetter]]:
        """Dead letters of these slots, each with the ask of its call.

        A dead letter has the place of its call only. It belongs to the receipt that says the same was refused; of
        several, the newest one to the newest.
        """
        asks: dict[object, list[int]] = {}
        for each in self.receipts:
            if each.slot in slots and each.fate in ("rejected", "expired"):
                asks.setdefault((each.slot, each.refused.hex() or tuple(each.identifier)), []).append(each.ask)
        found = []
        for letter in reversed(self.dead):
            about = letter.payload["slot"], letter.refused or tuple(letter.payload["identifier"])
            if mine := asks.get(about):
                found.append((mine.pop(), letter))
        return found[::-1]


def outcomes(kafka: Kafka, people: Mapping[str, ProfileState]) -> dict[str, Outcomes]:
    """By profile id, since the oldest ask that its state remembers. Raises KafkaProblem."""
    found = {name: Outcomes() for name in people}
    asks = [state.asked[0][0] for state in people.values() if state.asked]
    if asks:
        since = min(asks) / 1_000_000 - _CLOCKS
        _read_letters(kafka, since, found)  # before receipts: each of them has one
        _read_receipts(kafka, since, found)
    return found


def _read_letters(kafka: Kafka, since: float, found: Mapping[str, Outcomes]) -> None:
    topic, inside = kafka.topic("dead"), [msgspec.json.encode(name) for name in found]
    for record in read_all(kafka, topic, offsets_since(kafka, topic, since, [0])):
        if record.value and any(name in record.value for name in inside):
            letter = _letter(record.value)
            if letter.step == "Deliver" and (mine := found.get(letter.payload["profile_id"])):
                mine.dead.append(letter)


def _read_receipts(kafka: Kafka, since: float, found: Mapping[str, Outcomes]) -> None:
    topic, keys = kafka.topic("facts"), {key_of(name) for name in found}
    numbers = partitions_of(kafka, topic, keys)
    for record in read_all(kafka, topic, offsets_since(kafka, topic, since, numbers), numbers):
        if record.key in keys:
            about = _fact(record.value or b"")
            if isinstance(about.fact, ReceiptFact) and about.subject in found:
                found[about.subject].receipts.append(about.fact.receipt)
