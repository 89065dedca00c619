"""One slot, one identifier, and everything that can happen between the fold, the log, the sender and the vendor.

A `World` takes steps, one at a time, in any order. `ends_well` lets a well vendor answer whatever is still asked, and
compares: the vendor must have what is wanted, and nothing may be left to do.
"""

from collections.abc import Callable, Iterator
from copy import copy
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from typing import Any

from msgspec.structs import replace

from schemas.calls import Call
from schemas.events import AnyEvent, Audience, Delete, ExternalId, Profile, Trait
from schemas.registry import Registry
from schemas.state import ProfileState, decode_profile, encode_profile
from schemas.workspace import Computation, Connection, Form, Sync, Workspace
from tests.transforms.logic.job import hour
from tests.transforms.logic.plain_sender import LANDING, PlainSender, Record, Slots, slots_of
from tests.transforms.logic.vendors import Settings
from transforms.logic.fold import Facts, fold
from transforms.logic.plan import Plan, make_plan
from transforms.logic.registry import Vendor, enter

U1 = ExternalId("user_id", "u1")
NOTHING = "nothing"
MOST_ROUNDS = 30


@dataclass(frozen=True)
class Shape:
    """What kind of slot it is."""

    form: Form = "identify"
    trait: bool = False
    forgets: bool = True


@dataclass
class World:
    """A state, a log with its sender, and a vendor."""

    shape: Shape
    seconds: float = hour(1).timestamp()
    registry: Registry = field(default_factory=Registry)
    workspace: str = ""
    plan: Plan | None = None
    state: bytes = field(default_factory=lambda: encode_profile(ProfileState()))
    sender: PlainSender = field(default_factory=PlainSender)
    folded: int = 0
    asked: int = 0
    # the truth
    facts: dict[str, tuple[float, Any]] = field(default_factory=dict)  # since when
    deleted: bool = False
    failed: bool = False  # a deletion failed for good
    # the vendor
    has: Any = NOTHING
    heard: tuple[tuple[int, Any], ...] = ()  # occurrences that landed: ask and value
    landing: tuple[Call, ...] = ()
    exposed: bool = False  # it may have been told true

    def clone(self) -> "World":
        other = copy(self)
        sender = self.sender
        other.sender = PlainSender(
            {ask: copy(r) for ask, r in sender.records.items()}, [*sender.receipts], {**sender.may_land}
        )
        return other

    # -- deciding

    def decide_with(self, name: str) -> None:
        """Another workspace; everybody is looked at."""
        self.workspace = name
        workspace, vendors = self._workspaces()[name]
        now = micros_of(self.seconds)
        self.registry, _ = enter(self.registry, workspace, vendors, now)
        self.plan = make_plan(workspace, vendors, self.registry, now)
        self.fold(Facts(tick=True))

    def _workspaces(self) -> dict[str, tuple[Workspace, dict[str, Vendor]]]:
        shape = self.shape
        kind = Computation("It", "trait" if shape.trait else "audience", "it", "it")
        vendor = Vendor("shop", ("user_id",), forgets=("user_id",) if shape.forgets else ())
        found = {}
        for name, region, syncs in (("here", "us", True), ("away", "us", False), ("mended", "eu", True)):
            sync = Sync("it", forms=(shape.form,), where={"consent": True})
            connection = Connection("c", "c", (sync,) if syncs else (), Settings(region=region))
            found[name] = Workspace("shop", (kind,), (connection,)), {"c": vendor}
        return found

    def fold(self, facts: Facts) -> int:
        """Fold, and append what is asked; how much that is."""
        assert self.plan
        plan = replace(self.plan, now=micros_of(self.seconds))
        state = decode_profile(self.state)
        folded = fold("ana", state, facts, plan, count(self.asked + 1))
        self.state = encode_profile(state)
        for _, call in folded.calls:
            self.asked = call.ask
            self.sender.append(call)
        return len(folded.calls)

    def tell(self, what: str, value: Any, event: Callable[..., AnyEvent], /, **more: Any) -> None:
        self.seconds += 1
        self.facts = {**self.facts, what: (self.seconds, value)}
        self.fold(Facts(events=[event(profile_id="ana", at=datetime.fromtimestamp(self.seconds, UTC), **more)]))

    def delete(self, at: float) -> None:
        self.facts = {what: fact for what, fact in self.facts.items() if fact[0] > at}
        self.deleted = True
        self.fold(Facts(events=[Delete(profile_id="ana", at=datetime.fromtimestamp(at, UTC))]))

    def fact(self, what: str) -> Any:
        return self.facts.get(what, (0.0, None))[1]

    def fold_receipts(self, most: int = 1000) -> int:
        new = self.sender.receipts[self.folded : self.folded + most]
        self.folded += len(new)
        if new:
            self.fold(Facts(receipts=new))
            self.sender.free(self.folded)
        return len(new)

    # -- sending

    @property
    def slots(self) -> Slots:
        assert self.plan
        return slots_of(self.plan.connections[0])

    def net(self) -> None:
        self.sender.net(self.slots, self.seconds)

    def send(self) -> None:
        """The next call leaves, if none is on its way that it waits for."""
        self.net()
        for call in self.sender.due(self.seconds):
            if not self.sender.before(call) and not self.sender.records[call.ask].flying:
                self.sender.records[call.ask].flying = True
                if call.value is False and not self.shape.trait:
                    assert self.exposed, "an exit without an entry that may have arrived"
                self.exposed |= call.value is True
                return

    def answer(self, outcome: Any, landed: bool, later: bool = False) -> None:
        for record in self.sender.unsettled():
            if record.flying:
                record.flying = False
                if landed:
                    self.land(record.call)
                elif later:
                    self.landing = (*self.landing, record.call)
                if record.call.kind == "delete" and outcome != "maybe":
                    self.failed = outcome != "delivered"
                self.sender.end(record.call.ask, outcome, self.slots, self.seconds)
                return

    def land(self, call: Call) -> None:
        if call.kind == "delete":
            self.has, self.heard = NOTHING, ()
        elif call.kind == "track":
            self.heard = tuple(sorted({*self.heard, (call.ask, call.value)}))
        else:
            self.has = call.value

    def land_late(self) -> None:
        if self.landing:
            self.land(self.landing[0])
            self.landing = self.landing[1:]

    def crash(self) -> None:
        """The sender dies, and all that it had taken from the log may have been sent."""
        self.net()
        for record in self.sender.unsettled():
            if record.call.kind != "cancel":
                self.sender.give_up(record, self.seconds)
                self.exposed |= record.call.value is True
                if record.flying:
                    self.landing = (*self.landing, record.call)
                record.flying = False

    def wait(self) -> None:
        """More than `LANDING` passes. What was on its way has landed or never will."""
        if not any(record.flying for record in self.sender.unsettled()):
            self.seconds += LANDING + 1
            self.landing = ()

    # -- the end

    def wanted(self) -> Any:
        return self.fact("value") if self.fact("known") and self.fact("consent") else None

    def ends_well(self, late: bool) -> None:
        """With a well vendor. `late`: what may still land does so at the last moment; otherwise never."""
        self.answer("maybe", False, True)
        self.fold_receipts()
        self.decide_with("mended")
        for _ in range(MOST_ROUNDS):
            self.net()
            due = self.sender.due(self.seconds)
            if due:
                self.send()
                self.answer("delivered", True)
            elif not self.fold_receipts():
                if not self.sender.unsettled():
                    break
                while late and self.landing:
                    self.land_late()
                self.wait()
        else:
            raise AssertionError("it never ends")
        while late and self.landing:
            self.land_late()
        self.compare()
        assert 0 == self.fold(Facts(tick=True)), "something is left to do"

    def compare(self) -> None:
        wanted, shape = self.wanted(), self.shape
        has = (self.heard[-1][1] if self.heard else NOTHING) if shape.form == "track" else self.has
        told = wanted is True if not shape.trait else wanted is not None
        if told:
            assert wanted == has, f"wanted {wanted}, the vendor has {has}"
        elif self.deleted and (self.failed or not shape.forgets):
            return  # what the vendor had before the deletion is its own
        elif not shape.trait:
            assert has in (False, NOTHING), f"not wanted, the vendor has {has}"
        elif self.fact("known") and self.fact("consent"):
            assert has in (None, NOTHING), f"taken back, the vendor has {has}"
        if self.deleted and not self.failed and shape.forgets and wanted is None:
            assert has == NOTHING or (self.facts and has in (None, False)), f"deleted, the vendor has {has}"


def micros_of(seconds: float) -> int:
    return round(seconds * 1_000_000)


# -- steps


def _value(value: Any) -> Callable[[World], None]:
    def step(world: World) -> None:
        if world.shape.trait:
            world.tell("value", value, Trait, computation="it", value=value)
        else:
            world.tell("value", value, Audience, computation="it", member=value)

    return step


def _consent(on: bool) -> Callable[[World], None]:
    def step(world: World) -> None:
        world.tell("consent", on, Profile, traits={"consent": on})

    return step


def _identifier(known: bool) -> Callable[[World], None]:
    def step(world: World) -> None:
        world.tell("known", known, Profile, **{"external_ids" if known else "removed_ids": [U1]})

    return step


def _delete(world: World) -> None:
    world.seconds += 1
    world.delete(world.seconds)


def _delete_late(world: World) -> None:
    """Of everything but the newest."""
    if world.facts:
        world.delete(max(at for at, _ in world.facts.values()) - 0.5)


def _away(world: World) -> None:
    world.seconds += 1
    world.decide_with("here" if world.workspace == "away" else "away")


STEPS: dict[str, Callable[[World], None]] = {
    "send": World.send,
    "delivered": lambda world: world.answer("delivered", True),
    "lost": lambda world: world.answer("maybe", False, True),
    "lost, but landed": lambda world: world.answer("maybe", True),
    "refused": lambda world: world.answer("rejected", False),
    "expired": lambda world: world.answer("expired maybe", False, True),
    "lands late": World.land_late,
    "crash": World.crash,
    "fold": World.fold_receipts,  # type: ignore[dict-item]
    "fold one": lambda world: world.fold_receipts(1),  # type: ignore[dict-item]
    "wait": World.wait,
    "consent off": _consent(False),
    "consent on": _consent(True),
    "identifier removed": _identifier(False),
    "identifier known": _identifier(True),
    "deleted": _delete,
    "deleted, all but the newest": _delete_late,
    "sync away or back": _away,
}
AUDIENCE = {"enters": _value(True), "leaves": _value(False)}
TRAIT = {"is 1": _value(1), "is 2": _value(2), "is null": _value(None)}


def steps_of(shape: Shape) -> dict[str, Callable[[World], None]]:
    return (TRAIT if shape.trait else AUDIENCE) | STEPS


def begin(shape: Shape) -> World:
    """Somebody who is known, and may be told of."""
    world = World(shape)
    world.decide_with("here")
    for step in ("identifier known", "consent on", "is 1" if shape.trait else "enters"):
        steps_of(shape)[step](world)
    return world


def signature(world: World) -> Any:
    """Two worlds with one signature have the same future: numbers and times count by their order only."""
    state, sender, now = decode_profile(world.state), world.sender, world.seconds
    asks = {record.call.ask for record in sender.records.values()} | {state.cut}
    asks |= {entry.open.ask for entries in state.ledger.values() for entry in entries.values() if entry.open}
    rank = {ask: number for number, ask in enumerate(sorted(asks))}
    truth = [(what, value) for what, (_, value) in sorted(world.facts.items(), key=lambda fact: fact[1][0])]
    return (
        _known(state), _ledger(state, rank, now), repr(truth),
        tuple(_record(record, rank, world) for record in sender.records.values()),
        tuple((rank.get(r.ask), r.fate, r.maybe, r.unsure_until > now, r.ask <= state.cut)
              for r in sender.receipts[world.folded :]),
        any(until > now for until in sender.may_land.values()),
        any(until > now for until in state.stray.values()), bool(state.stray), rank[state.cut],
        world.workspace, world.deleted, world.failed, world.exposed, repr(world.has),
        tuple(value for _, value in world.heard)[-2:], tuple((call.kind, repr(call.value)) for call in world.landing),
    )  # fmt: skip


def _known(state: ProfileState) -> Any:
    moments = {m for known in state.ids for m in (known.first, known.latest, known.removed)}
    order = {m: number for number, m in enumerate(sorted(moments | {fact[0] for fact in state.values.values()}))}
    ids = tuple((known.id, order[known.first], order[known.latest], order[known.removed]) for known in state.ids)
    values = tuple((number, order[at], repr(value)) for number, (at, value) in state.values.items())
    return ids, values, repr([value for _, value in state.traits.values()]), state.deleted is None


def _ledger(state: ProfileState, rank: dict[int, int], now: float) -> Any:
    return tuple(
        (slot, place, e.told, e.exposed, e.open and (rank[e.open.ask], e.open.asked, e.open.leaves),
         e.rest and (e.rest.refused, e.rest.said, e.rest.stray > now, bool(e.rest.stray)))
        for slot, entries in sorted(state.ledger.items()) for place, e in sorted(entries.items())
    )  # fmt: skip


def _record(record: Record, rank: dict[int, int], world: World) -> Any:
    call, receipt, now = record.call, record.receipt, world.seconds
    return (
        rank[call.ask], call.kind, repr(call.value), rank.get(call.replaces), call.before, rank.get(call.opens),
        call.not_before > now, call.epoch == world.registry.syncs["c/it"].epoch, record.maybe, record.until > now,
        record.flying, receipt and (receipt.fate, receipt.maybe, receipt.unsure_until > now),
    )  # fmt: skip


def histories(shape: Shape, depth: int, most: int) -> Iterator[tuple[tuple[str, ...], World]]:
    """Every world within so many steps, the nearest first, each once."""
    steps, start = steps_of(shape), begin(shape)
    seen = {signature(start)}
    near: list[tuple[tuple[str, ...], World]] = [((), start)]
    yield near[0]
    for _ in range(depth):
        further = []
        for path, world in near:
            for name, step in steps.items():
                other = world.clone()
                step(other)
                if (mark := signature(other)) in seen:
                    continue
                seen.add(mark)
                further.append(((*path, name), other))
                yield further[-1]
                if len(seen) > most:
                    return
        near = further
