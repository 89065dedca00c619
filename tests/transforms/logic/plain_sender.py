"""A sender in the plainest words: what decision 0007 says of one connection's log, without speed, lanes and vendors.

Nothing here is taken from the sender's own code, so that the two can be compared.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from schemas.calls import NOBODY, Call
from schemas.canonical import digest
from schemas.receipts import Receipt, receipt_of
from transforms.logic.ledger import expiry, refusal
from transforms.logic.plan import ConnectionPlan

LANDING = 300.0  # seconds after which a request that was given up lands no more

# What becomes of a call that was attempted. `maybe`: no answer, it is to be repeated. `pending`: it was not sent.
Outcome = Literal[
    "delivered", "rejected", "rejected maybe", "missing key", "maybe", "expired", "expired maybe", "pending"
]
OPEN: tuple[Outcome, ...] = ("maybe", "pending")
Slots = Mapping[int, tuple[int, bytes]]  # what a workspace has: the epoch and the settings of each slot's sync


def slots_of(connection: ConnectionPlan) -> Slots:
    """Of what a sender of this workspace sends calls; retired names too, for their exits."""
    found = {connection.deletions: (0, b"")}
    for sync in (*connection.syncs, *connection.groups):
        for form in [*sync.forms, *(form for form, _ in sync.retired)]:
            found[form.slot] = (sync.epoch, sync.settings)
    return found


@dataclass
class Record:
    """A call in the log."""

    call: Call
    receipt: Receipt | None = None
    maybe: bool = False  # the mark: a request of it may have arrived
    until: float = 0.0  # or may arrive until then
    flying: bool = False  # its request left, and nothing came back yet

    @property
    def clean(self) -> bool:
        """It has an outcome, and surely nothing of it, and of what it took the place of, landed."""
        return self.receipt is not None and self.receipt.fate != "delivered" and not self.receipt.maybe

    @property
    def passed_on(self) -> bool:
        """It was superseded, and may have landed."""
        return self.receipt is not None and self.receipt.fate == "superseded" and self.receipt.maybe


@dataclass
class PlainSender:
    """The log of one connection, and what its sender makes of it."""

    records: dict[int, Record] = field(default_factory=dict)  # by ask, in order
    receipts: list[Receipt] = field(default_factory=list)  # in the order in which they were written
    may_land: dict[str, float] = field(default_factory=dict)  # until when something given up may, by profile

    def append(self, call: Call) -> None:
        assert call.ask > next(reversed(self.records), 0), "the numbers of asks grow"
        self.records[call.ask] = Record(call)

    def unsettled(self) -> list[Record]:
        return [record for record in self.records.values() if record.receipt is None]

    # -- what costs no request

    def net(self, slots: Slots, now: float) -> None:
        """Settle all that needs no request, until nothing is left of it."""
        settled = 1
        while settled:
            settled = sum([self._net(record, slots, now) for record in self.unsettled()])

    def _net(self, record: Record, slots: Slots, now: float) -> bool:
        call = record.call
        if record.receipt is not None or record.flying:
            return False
        if call.kind == "cancel":
            return self._cancel(record, now)
        if slots.get(call.slot, (-1, b""))[0] != call.epoch:
            return self._supersede(record, now)
        if call.opens in self.records and self.records[call.opens].clean:
            return self._supersede(record, now)
        replaced = self.records.get(call.replaces)
        if replaced is None or replaced.flying:
            return False
        settled = replaced.receipt is None and self._supersede(replaced, now)
        if not record.maybe and self.vendor_has(record) == digest(call.value):
            return self._supersede(record, now)
        return settled

    def _cancel(self, cancel: Record, now: float) -> bool:
        scope = [record for record in self.unsettled() if in_scope(record.call, cancel.call)]
        for record in scope:
            if not record.flying:
                self._supersede(record, now)
        if any(record.flying for record in scope):
            return False
        self._write(cancel, receipt_of(cancel.call, "superseded", now))
        return True

    def vendor_has(self, record: Record) -> bytes | None:
        """Digest of what the vendor has if this call is not sent; None: not known."""
        if not record.call.replaces:
            return record.call.before
        replaced = self.records.get(record.call.replaces)
        if (
            replaced is None
        ):  # forgotten: what the decider knew then. Where that was less, the receipts make it ask again
            return record.call.before
        if replaced.receipt is not None and replaced.receipt.fate == "delivered":
            return digest(replaced.call.value)
        return self.vendor_has(replaced) if replaced.clean else None

    def _supersede(self, record: Record, now: float) -> bool:
        maybe = record.maybe or self._took_over_doubt(record.call)
        until = _later(record.until, now)
        self._write(record, receipt_of(record.call, "superseded", now, maybe=maybe, unsure_until=until))
        return True

    def _took_over_doubt(self, call: Call) -> bool:
        return call.replaces in self.records and self.records[call.replaces].passed_on

    def free(self, folded: int) -> None:
        """Forget calls whose receipts are among the first so many, and that nothing unsettled replaces."""
        needed = {record.call.replaces for record in self.unsettled()} | {r.call.opens for r in self.unsettled()}
        for receipt in self.receipts[:folded]:
            if receipt.ask not in needed:
                self.records.pop(receipt.ask, None)

    # -- what is sent

    def due(self, now: float, held: bool = False) -> list[Call]:
        """The calls that would be sent now, in this order, if each one gets its outcome. `held`: lists wait."""
        return [
            record.call
            for record in self.unsettled()
            if record.call.kind != "cancel"
            and not (held and record.call.kind in ("add", "remove"))
            and not any(self.waits(other, now) for other in [record.call, *self.before(record.call)])
        ]

    def waits(self, call: Call, now: float) -> bool:
        """A deletion is sent when nothing of its person that was given up, its own attempts too, may land any more."""
        until = self.may_land.get(call.profile_id, 0.0) if call.kind == "delete" else call.not_before
        return until > now

    def before(self, call: Call) -> list[Call]:
        """What has no outcome yet, and must have one before this call is sent."""
        return [record.call for record in self.unsettled() if record.call.ask < call.ask and first(record.call, call)]

    def end(self, ask: int, outcome: Outcome, slots: Slots, now: float) -> None:
        """A request with this call had this outcome."""
        record = self.records[ask]
        assert record.receipt is None
        if outcome == "pending":
            return
        assert not self.before(record.call), "sent out of order"
        if outcome in ("maybe", "rejected maybe", "expired maybe"):
            self.give_up(record, now)
        if outcome == "maybe":
            return
        call, (_, settings) = record.call, slots.get(record.call.slot, (0, b""))
        maybe = outcome != "delivered" and (record.maybe or self._took_over_doubt(call))
        until = _later(record.until, now)
        if outcome == "delivered":
            receipt = receipt_of(call, "delivered", now, unsure_until=until)
        elif outcome in ("expired", "expired maybe"):
            receipt = receipt_of(call, "expired", now, maybe=maybe, unsure_until=until, refused=expiry(call, settings))
        else:
            lacks = outcome == "missing key"
            receipt = receipt_of(
                call,
                "rejected",
                now,
                reason="missing_required_key" if lacks else "refused",
                maybe=maybe,
                unsure_until=until,
                refused=refusal(call, settings),
                call=call if lacks and call.kind == "track" else None,
            )
        self._write(record, receipt)

    def give_up(self, record: Record, now: float) -> None:
        """A request left, or may have left, and no answer is waited for any more."""
        record.maybe, record.until = True, now + LANDING
        self.may_land[record.call.profile_id] = now + LANDING

    def _write(self, record: Record, receipt: Receipt) -> None:
        record.receipt = receipt
        self.receipts.append(receipt)

    def counts(self) -> dict[str, int]:
        """The calls made, by what became of them."""
        found: dict[str, int] = {}
        for record in self.records.values():
            if record.call.kind != "cancel":
                fate = record.receipt.fate if record.receipt else "pending"
                found[fate] = found.get(fate, 0) + 1
        return found


def in_scope(call: Call, cancel: Call) -> bool:
    return (
        call.kind != "cancel"
        and call.ask < cancel.ask
        and call.profile_id == cancel.profile_id
        and cancel.identifier in (NOBODY, call.identifier)
        and cancel.slot in (0, call.slot)
    )


def first(earlier: Call, later: Call) -> bool:
    """Whether the later one waits for the earlier: they are of one place at the vendor, or one deletes the person."""
    if earlier.profile_id != later.profile_id or earlier.kind == "cancel":
        return False
    if "delete" in (earlier.kind, later.kind):
        return True
    return (earlier.slot, earlier.identifier) == (later.slot, later.identifier)


def _later(until: float, now: float) -> float:
    return until if until > now else 0.0
