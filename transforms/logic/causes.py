"""Causes: what a call tells about its person, and why it is made now. For plans: the call itself does not say."""

from typing import Literal

from schemas.calls import Call
from schemas.state import ProfileState
from transforms.logic.detect import Fact
from transforms.logic.fold import Facts
from transforms.logic.ledger import kept
from transforms.logic.plan import Plan, SyncPlan
from transforms.logic.why import failing

What = Literal["enter", "leave", "change", "delete", "take back"]
Cause = Literal[
    "first sync",  # the vendor was told nothing of this sync yet, or the value is older than the sync
    "new value",
    "new identifier",
    "filter",  # the person matches the `where` since now, or does so no more
    "identifier gone",  # it is not the person's any more, or goes by another strategy
    "goes along",  # enrichment, attached identifiers and required keys changed
    "refresh",  # somebody asked for a full refresh
    "workspace",  # the workspace asks for something else
    "retry",  # a dead letter that is tried again
    "outcome",  # what became of an earlier call asks for it
    "deletion",
]


def what_of(call: Call, sync: SyncPlan | None) -> What:
    if call.kind == "cancel":
        return "take back"
    if call.kind == "delete" or sync is None:
        return "delete"
    if not sync.audience:
        return "change"
    return "enter" if call.value else "leave"


def cause_of(call: Call, before: ProfileState, after: ProfileState, facts: Facts, sync: SyncPlan | None) -> Cause:
    """Why a call is made by a fold. `before` and `after` it the person's state; `sync` is the call's own."""
    if call.kind == "delete" or sync is None:
        return "deletion"
    if facts.retries:
        return "retry"
    if facts.receipts:
        return "outcome"
    value = after.values.get(sync.computation)
    if call.kind == "cancel":
        return "filter" if failing(after, sync) else "workspace" if facts.tick else "identifier gone"
    if sync.audience and not call.value and value and value[1]:  # an exit that no event says
        return "filter" if failing(after, sync) else "workspace" if facts.tick else "identifier gone"
    first = call.slot not in before.ledger
    if call.slot in facts.refresh and not first:
        return "refresh"
    if facts.tick:
        return "first sync" if first else "workspace"
    if first and call.backfill:
        return "first sync"
    if value is None or not _same(before.values.get(sync.computation), value):  # none: it is one of an account
        return "new value"
    if failing(before, sync):
        return "filter"
    place = before.place(call.identifier)
    if place is None or not before.ids[place].counts:
        return "new identifier"
    return "first sync" if first else "goes along"


def _same(one: Fact | None, other: Fact | None) -> bool:
    if one is None or other is None:
        return one is other
    return kept(one[1]) == kept(other[1])


def syncs_by_slot(plan: Plan) -> dict[int, SyncPlan]:
    """Of every slot that calls may have, its sync; deletions have none."""
    return {
        form.slot: sync
        for connection in plan.connections
        for sync in (*connection.syncs, *connection.groups)
        for form in (*sync.forms, *(form for form, _ in sync.retired))
    }
