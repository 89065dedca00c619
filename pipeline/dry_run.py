"""What a replay would send: the next run's decisions with and without the dead letters, and nothing written."""

from collections import Counter
from collections.abc import Mapping

from msgspec.msgpack import Decoder

from pipeline.journal import Fates, past_of
from pipeline.replay import NOTHING, Letters, Replay
from pipeline.run import RunOptions, plan_run
from pipeline.store import Manifest, Run, StateStore
from schemas.calls import Call, message_id
from schemas.packing import unpack
from transforms.logic.ledger import expiry, refusal, slot_of
from transforms.logic.plan import Plan
from transforms.logic.shard import Lines, detect_shard, expand_shard

FROM_RECORDS = "from records"  # stands for the reason of a call that a bad record, read again, would bring about

_lines = Decoder(Lines)
Calls = dict[tuple[str, str], Call]  # by connection and message id


def would_go(options: RunOptions, letters: Letters) -> Counter[tuple[str, str]]:
    """How many calls go because of the dead letters, by connection and reason.

    With the records, under the connection "", of which each is read again. Raises StoreError.
    """
    found = Counter(("", letter.reason) for letter in letters.records.values())
    store = StateStore(options.state)
    with store.watched():
        previous = store.current()
        fates = store.fates(previous) if previous else {}
        next_run = _NextRun(options, store, previous, fates)
        replay, reasons = letters.replay(), _reasons(letters)
        for shard in {*replay.retries, *(shard for shard, _ in replay.packs)}:
            anyway = next_run.calls(shard, NOTHING)
            for (name, message), call in next_run.calls(shard, replay).items():
                if (name, message) not in anyway:
                    found[name, _reason(name, call, reasons, next_run.plan)] += 1
    return found


class _NextRun:
    """What the next run would decide, shard by shard."""

    def __init__(
        self, options: RunOptions, store: StateStore, previous: Manifest | None, fates: Mapping[str, Fates]
    ) -> None:
        self.plan = plan_run(options, store, previous, fates)
        self._run, self._fates = Run(store.root, "", previous), fates
        self._everyone = previous is None or previous.plan != self.plan.digest().hex()

    def calls(self, shard: int, replay: Replay) -> Calls:
        lines = [unpack(packed, _lines) for place, packed in replay.packs if place == shard]
        past = past_of(shard, self._fates, replay.retries.get(shard, []))
        state, settled = self._run.previous_state(shard), self._run.settlements(shard, past)
        detected = detect_shard(state, settled, lines, self.plan, self._everyone, past.retries)
        expanded = expand_shard(detected, self.plan)
        return {(name, message_id(name, call)): call for name, calls in expanded.calls.items() for call in calls}


Reasons = dict[tuple[object, ...], str]  # by `Retry`, and by one without its digest


def _reasons(letters: Letters) -> Reasons:
    found: Reasons = {}
    for retry, reason in letters.calls.items():
        found[retry] = found[retry[:3]] = reason
    return found


def _reason(connection: str, call: Call, reasons: Reasons, plan: Plan) -> str:
    settings = next(each.settings for each in plan.connections if each.name == connection)
    slot = call.profile_id, connection, slot_of(call)
    known: list[tuple[object, ...]] = [(*slot, refusal(call, settings)), (*slot, expiry(call, settings))]
    if call.kind == "track":  # told as of now: its value, its time and the settings may be others than the letter's
        known.append(slot)
    return next((reasons[each] for each in known if each in reasons), FROM_RECORDS)
