"""The planner: a decider that writes its calls into a plan, with what they tell and why, and not into the state."""

from collections.abc import Container, Hashable, Mapping
from pathlib import Path

from msgspec.structs import replace

from pipeline.decider import Decided, Decider
from pipeline.overlay import Overlay, PlannedCall, PlanPortion
from pipeline.sent import Receipts
from pipeline.state_db import Portion as Transaction
from pipeline.state_db import StateDb
from pipeline.vendors import destinations
from schemas.calls import Call
from schemas.canonical import digest
from schemas.registry import Registry
from schemas.state import ProfileState, account_of, decode_account, decode_profile
from schemas.workspace import Workspace
from transforms.destinations.contract import Destination
from transforms.logic.causes import Cause, What, cause_of, syncs_by_slot, what_of
from transforms.logic.fold import Facts
from transforms.logic.plan import ConnectionPlan, Plan
from transforms.logic.portion import Portion, tombstone


class Planner(Decider):
    """Decides as a run would. Picklable, as every decider; nothing of the state directory is written."""

    def __init__(
        self,
        folder: Path,
        scratch: Path,
        plan: Plan,
        registry: Registry,
        workspace: Workspace,
        names: Mapping[str, str],
    ) -> None:
        """`names`: under which a connection's log lies, where the workspace renames it."""
        super().__init__(folder, plan, registry, run="")
        self.scratch, self._workspace, self._names = scratch, workspace, dict(names)
        self._facts: Mapping[str, Facts] = {}
        self._through = Facts()  # of whoever hears of something by an account alone
        self._vendors: dict[str, Destination] = {}

    def __getstate__(self) -> dict[str, object]:
        return {**super().__getstate__(), "_facts": {}, "_vendors": {}}

    @property
    def db(self) -> StateDb:
        return self.overlay

    @property
    def overlay(self) -> Overlay:
        if not isinstance(self._db, Overlay):
            self._db = Overlay.over(self.folder, self.scratch)
        return self._db

    def _receipts(self, connection: str) -> Receipts:
        return super()._receipts(self._names.get(connection, connection))

    def _fold_at_once(
        self,
        facts: Mapping[str, Facts],
        folded: tuple[int, bytes, int, list[int]] | None = None,
        heard: Container[str] = (),
    ) -> tuple[Decided, Portion]:
        self._facts, self._through = facts, Facts(tick=all(each.tick for each in facts.values()))
        return super()._fold_at_once(facts, folded, heard)

    def _write(self, transaction: Transaction, portion: Portion) -> None:
        super()._write(transaction, portion)
        assert isinstance(transaction, PlanPortion)
        self._vendors = self._vendors or self._made()
        syncs, before = syncs_by_slot(self.plan), self.overlay.before
        after, states = {**before, **portion.states}, dict[str, tuple[ProfileState, ProfileState]]()
        for connection in self.plan.connections:
            planned, units = [], set[tuple[str, Hashable]]()
            for call in portion.calls.get(connection.name, []):
                who = call.profile_id
                if who not in states:
                    states[who] = _state(before, who), _state(after, who)
                facts = self._facts.get(who, self._through)
                cause = cause_of(call, *states[who], facts, syncs.get(call.slot))
                planned.append(self._planned(connection, call, what_of(call, syncs.get(call.slot)), cause, units))
            transaction.plan(planned)

    def _made(self) -> dict[str, Destination]:
        """Of the connections that can be decided for."""
        names = {connection.name for connection in self.plan.connections}
        known = tuple(each for each in self._workspace.connections if each.name in names)
        return destinations(replace(self._workspace, connections=known))

    def _planned(
        self, connection: ConnectionPlan, call: Call, what: What, cause: Cause, units: set[tuple[str, Hashable]]
    ) -> PlannedCall:
        """`units`: of the calls before this one; those of a person come together."""
        destination = self._vendors[connection.name]
        route = "" if call.kind == "cancel" else destination.route(call)
        unit = route, None if call.kind == "cancel" else destination.unit(call)
        new = unit not in units
        units.add(unit)
        sends = call.kind not in ("cancel", "delete", "group")  # no account is asked for what people need
        return PlannedCall(
            connection.name,
            call.sync,
            _form(call),
            what,
            cause,
            route,
            call,
            netted=call.kind == "cancel" or (bool(call.replaces) and call.before == digest(call.value)),
            lacks=sends and not connection.required.keys() <= call.traits.keys(),
            unit=new,
        )


def _state(packed: Mapping[str, bytes], key: str) -> ProfileState:
    """Of a profile, or the head of an account."""
    found = packed.get(key) or packed.get(tombstone(key))
    if not found:
        return ProfileState()
    return decode_account(found).known if account_of(key) is not None else decode_profile(found)


def _form(call: Call) -> str:
    return {"add": "list", "remove": "list"}.get(call.kind, call.kind)
