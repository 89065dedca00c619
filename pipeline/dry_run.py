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
from transforms.logic.ledger import Retry, expiry, refusal, slot_of
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
        replay = letters.replay()
        for shard in {*replay.retries, *(shard for shard, _ in replay.packs)}:
            anyway = next_run.calls(shard, NOTHING)
            for (name, message), call in next_run.calls(shard, replay).items():
                if (name, message) not in anyway:
                    found[name, _reason(name, call, letters, next_run.plan)] += 1
    return found


class _NextRun:
    """What the next run would decide, shard by shard."""

    def __init__(
        self, options: RunOptions, store: StateStore, previous: Manifest | None, fates: Mapping[str, Fates]
    ) -> None:
        self.plan = plan_run(options, previous, fates)
        self._run, self._fates = Run(store.root, "", previous), fates
        self._everyone = previous is None or previous.plan != self.plan.digest().hex()

    def calls(self, shard: int, replay: Replay) -> Calls:
        lines = [unpack(packed, _lines) for place, packed in replay.packs if place == shard]
        past = past_of(shard, self._fates, replay.retries.get(shard, []))
        state, settled = self._run.previous_state(shard), self._run.settlements(shard, past)
        detected = detect_shard(state, settled, lines, self.plan, self._everyone, past.retries)
        expanded = expand_shard(detected, self.plan)
        return {(name, message_id(name, call)): call for name, calls in expanded.calls.items() for call in calls}


def _reason(connection: str, call: Call, letters: Letters, plan: Plan) -> str:
    settings = next(each.settings for each in plan.connections if each.name == connection)
    for digest in (refusal(call, settings), expiry(call, settings)):
        if reason := letters.calls.get(Retry(call.profile_id, connection, slot_of(call), digest)):
            return reason
    return FROM_RECORDS
