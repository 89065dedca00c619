"""Asking: calls of one profile are made, numbered and written into its ledger."""

from collections.abc import Iterator
from hashlib import blake2b
from typing import Any

from msgspec import Struct
from msgspec.msgpack import encode
from msgspec.structs import replace

from schemas.calls import Call, Identifier, Kind
from schemas.canonical import digest
from schemas.state import Entries, Entry, Kept, Open, ProfileState
from transforms.logic.detect import Fact
from transforms.logic.ledger import digest_kept, kept, stays
from transforms.logic.plan import ConnectionPlan, FormPlan, SyncPlan

_NOT_TOLD = {True: digest(False), False: digest(None)}  # what a vendor has that was never told; True: of an audience


class Asking(Struct):
    """Makes the calls of one profile, and writes them into its ledger as asked."""

    profile_id: str
    state: ProfileState
    now: int
    asks: Iterator[int]
    live: bool  # something happened; else only the workspace changed
    woken: bool  # calls had outcomes: live too, but for what was never asked
    calls: list[tuple[str, Call]]
    dropped: int = 0  # waiting occurrences, since too many wait

    def call(
        self, sync: SyncPlan, slot: FormPlan, key: str, place: int, kind: Kind, fact: Fact, traits: dict[str, Any]
    ) -> Call:
        """A call without a number."""
        identifier = self.state.ids[place].identifier
        return Call(
            self.profile_id, kind, identifier, key, fact[1], fact[0], 0, slot.slot, sync.epoch, sync.computation_key,
            sync.name, traits=traits,
        )  # fmt: skip

    def ask(
        self,
        connection: ConnectionPlan,
        sync: SyncPlan,
        call: Call,
        place: int,
        opens: int = 0,
        new: bool = False,
        last: bool = False,
    ) -> None:
        """Write the call into the log, as asked. A call that was refused before is left out, unless it is `new`.

        `last`: an exit of somebody who is told nothing more.
        """
        entries = self.state.ledger.setdefault(call.slot, {})
        entry = entries.get(place)
        before = entry.open if entry else None
        track = call.kind == "track"
        if not new and entry and entry.rest and stays(entry.rest.refused, call, sync.settings):
            if before and not track:
                self.cancel(connection, call.slot, place, entry)  # what was asked instead is not wanted any more
            if not before or not track:
                return
        first = entry is None
        if entry is None:
            entry = entries[place] = Entry()
        if track and before:
            backfill = before.backfill
        else:
            backfill = call.at <= sync.since or not (self.live or (self.woken and not first))
        not_before = _not_before(entry, call, self.now)
        if entry.rest and entry.rest.said != kept(call.value) and not track:  # this one may be the last that lands
            entry.rest.said = None
        number = next(self.asks)
        leaves = int(call.value is False if sync.audience else call.value is None)
        entry.open = Open(number, kept(call.value), 2 if last else leaves, backfill, carried(call), before is not None)
        self.calls.append(
            (
                connection.name,
                replace(
                    call,
                    ask=number,
                    replaces=before.ask if before and not track else 0,
                    before=None if track else _before(entry, sync),
                    opens=opens,
                    not_before=not_before,
                    backfill=backfill,
                ),
            )
        )

    def cancel(self, connection: ConnectionPlan, slot: int, place: int, entry: Entry) -> None:
        """Take back what was asked and is not sent yet."""
        if entry.open is None or entry.open.asked is None:
            return
        entry.open.asked = None
        identifier = self.state.ids[place].identifier
        cancel = Call(self.profile_id, "cancel", identifier, "", None, self.now, next(self.asks), slot)
        self.calls.append((connection.name, cancel))


def carried(call: Call) -> bytes:
    """Digest of the traits that travel with a call; of an occurrence they make no difference."""
    if not call.traits or call.kind == "track":
        return b""
    traits = [(name, digest(value)) for name, value in sorted(call.traits.items())]
    return blake2b(encode(traits), digest_size=8).digest()


def _before(entry: Entry, sync: SyncPlan) -> bytes | None:
    """Digest of what the vendor has if nothing that is asked lands; None: not known."""
    if entry.rest and entry.rest.stray:
        return None
    if entry.told is not None:
        return digest_kept(entry.told)
    return None if entry.exposed else _NOT_TOLD[sync.audience]


def _not_before(entry: Entry, call: Call, now: int) -> float:
    """When the call may go: behind an older value that may still land. 0: at once."""
    rest = entry.rest
    if rest is None or rest.said is None or rest.said != kept(call.value) or rest.stray * 1_000_000 <= now:
        return 0.0
    return rest.stray


def gone_since(state: ProfileState) -> Fact:
    """An exit that no event says, since the person's latest event. Since now, it would be another one each time."""
    mentions = (max(known.latest, known.removed) for known in state.ids)
    facts = (fact[0] for facts in (state.traits, state.values) for fact in facts.values())
    return max([*mentions, *facts], default=0), False


# -- resync: what a new identifier is told


def heard(entries: Entries, wanted: Kept) -> bool:
    """Whether any identifier was asked or told this value. Then it is no change that a new identifier is told of."""
    return any(
        entry.told == wanted or (entry.open is not None and entry.open.asked == wanted) for entry in entries.values()
    )


def excused(entry: Entry, value: Any) -> bool:
    return entry.rest is not None and entry.rest.excused is not None and entry.rest.excused == kept(value)


def end_excuses(entries: Entries, wanted: Kept) -> None:
    """The value changed: identifiers that were kept out of the earlier value are told again."""
    for entry in entries.values():
        if entry.rest and entry.rest.excused is not None and entry.rest.excused != wanted:
            entry.rest.excused = None


# -- traits that travel with a call


def traits_of(
    state: ProfileState, connection: ConnectionPlan, sync: SyncPlan, place: int, attached: dict[str, str]
) -> dict[str, Any]:
    if not (sync.enrich or sync.enrich_values or attached or connection.required):
        return {}
    own = state.ids[place].type
    found: dict[str, Any] = {name: state.traits[name][1] for name in sync.enrich if name in state.traits}
    found |= {name: state.values[number][1] for name, number in sync.enrich_values if number in state.values}
    found |= {kind: value for kind, value in attached.items() if kind != own}
    return found | required_of(state, connection, place)


def required_of(state: ProfileState, connection: ConnectionPlan, place: int) -> dict[str, Any]:
    found = {}
    for key, alternatives in connection.required.items():
        for parts in alternatives:
            words = [_part(state, part, state.ids[place].identifier) for part in parts]
            if all(words):
                found[key] = " ".join(words)
                break
    return found


def _part(state: ProfileState, part: str, identifier: Identifier) -> str:
    if part == "email:local":
        address = identifier.id if identifier.type == "email" else ""
        return address.partition("@")[0]
    fact = state.traits.get(part)
    return str(fact[1]).strip() if fact is not None and fact[1] is not None else ""
