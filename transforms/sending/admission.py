"""Admission: what becomes of a call that was read, until it is in its lanes; and of everything once it is settled.

log ─ read ─┬─ of another workspace's slot or epoch, taken back, needless ─► superseded
            ├─ its time has not come ─► deferred, to be read again
            ├─ refused by our own rules ─► rejected
            └─ lanes
"""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from itertools import takewhile
from operator import itemgetter
from typing import Any, NamedTuple

from schemas.calls import Call
from schemas.outcomes import Delivered, Final, Superseded
from schemas.receipts import Receipt
from transforms.destinations.contract import Destination, target_of
from transforms.destinations.safety import fingerprint
from transforms.logic.blame import Keys
from transforms.logic.lanes import Item, Lanes
from transforms.logic.netting import known, may_land_until, needless, opens_nothing, takes_back
from transforms.sending.books import Books
from transforms.sending.deferred import Flushes, PutOff
from transforms.sending.delivery import Delivery
from transforms.sending.log import Waiting
from transforms.sending.passed_over import PassedOver
from transforms.sending.reading import Rows
from transforms.sending.talk import Stopped
from transforms.sending.words import fault, module_fails, place

FAULTS = 5  # in a row, and nothing but faults: the module is at fault and not a record
LANDS = "may_land"  # the fact that says until when a request that was given up may land
DELETED = "deleted:"  # of a profile's fingerprint: the fact that says until when a deletion may hit what is told anew
_NEVER = float("inf")
_REMEMBERED = 10_000  # settled calls whose receipts are on disk, kept for those that replace them
_LIVE, _BACKFILL = False, True


class End(NamedTuple):
    """The end of a call that this process settled."""

    receipt: Receipt
    before: bytes | None  # what the vendor had ahead of it


class Admission:
    """The calls of one connection that are in memory, and what is known of the others."""

    def __init__(
        self,
        delivery: Delivery,
        destination: Destination,
        lanes: Lanes,
        keys: Keys,
        flushes: Flushes,
        facts: Mapping[str, Any],
        wall: Callable[[], float],
    ) -> None:
        self._active, self._destination, self._lanes, self._wall = delivery.active, destination, lanes, wall
        self._number, self._keys = delivery.number, keys
        self._began = wall()
        self.flushes = flushes
        self.dated, self.put_off, self.landing = PutOff(shuts=False), PutOff(shuts=True), PutOff(shuts=True)
        self._may_land: dict[str, float] = {}  # until when something that was given up may, by profile
        self._all_may_land = float(facts.get(LANDS) or 0.0)  # the same of an earlier process, of anybody
        # Until when a deletion may hit what is told anew, by fingerprint of the profile; in the order of these times.
        self._deleted: dict[str, float] = dict(
            sorted(((n.removeprefix(DELETED), t) for n, t in facts.items() if n.startswith(DELETED)), key=itemgetter(1))
        )
        self.blocked = 0  # calls of keys that are blocked
        self.blocked_first = _NEVER  # the smallest ask of them
        self._passed = PassedOver()
        self.at = {_LIVE: 0, _BACKFILL: 0}  # everything up to this ask was read
        self.ended = {_LIVE: False, _BACKFILL: False}  # there was no more
        self.handed_over = False
        self.admitted = self._faults = 0
        self.heard: Callable[[Final], None] = lambda outcome: None  # of a vendor's word on a call
        self.items: dict[int, Item] = {}  # in memory, by ask
        self._ends: dict[int, End] = {}
        self._durable: list[int] = []  # of these, since the last read began
        self._old: deque[int] = deque()  # before it
        self._cancels: dict[str, list[Call]] = {}
        self._open_cancels: dict[int, Call] = {}
        self._followers: dict[int, list[Item]] = {}  # by the ask that they wait to know the end of
        self.books: Books

    # -- reading

    def durable(self, asks: list[int]) -> None:
        """The receipts of these are on disk."""
        self._durable += asks

    def reading(self) -> None:
        """A read begins. It will not give calls whose receipts were durable before it."""
        self._old.extend(self._durable)
        self._durable = []
        while len(self._old) > _REMEMBERED:
            self._ends.pop(self._old.popleft(), None)

    def read(self, backfill: bool, rows: Rows) -> None:
        """Admit what was read.

        Backfill with a greater ask than the one up to which live calls were read is left for a later read.
        """
        if rows.workspace > self._number:
            self.handed_over = True
            return
        limit = min(rows.upto, self.at[_LIVE]) if backfill else rows.upto
        for waiting in rows.calls:
            if waiting.call.ask > limit:
                break
            self._admit(waiting, rows)
            if self.handed_over:
                return
        self.at[backfill] = max(self.at[backfill], limit)
        self.ended[backfill] = not rows.more and limit == rows.upto
        if limit < rows.upto:
            self.ended[_LIVE] = False
        self._end_cancels()
        self.end_flushes()

    def read_again(self, first: int) -> None:
        """Read again from this ask on. A call that is in memory, or settled, is not taken twice."""
        for backfill in (_LIVE, _BACKFILL):
            if self.at[backfill] >= first:
                self.at[backfill] = first - 1
                self.ended[backfill] = False

    def _admit(self, waiting: Waiting, rows: Rows) -> None:
        call = waiting.call
        if call.ask in self.items or call.ask in self._ends or call.ask in self._open_cancels:
            return
        if call.kind == "cancel":
            self._cancel(call)
            return
        active = self._active.get(call.slot)
        if active is not None and call.epoch > active.epoch:
            self.handed_over = True
            return
        item = self._item(waiting)
        if active is None or call.epoch < active.epoch or self._taken_back(call):
            if call.replaces and (end := self._known_end(call.replaces, rows)):
                self._inherit(item, end)
            self.settle(item, Superseded())
            return
        now = self._wall()
        if call.not_before > now:
            self.dated.add(call.ask, call.not_before)
            return
        if _may_be_superseded(waiting) and (waiting.late or (waiting.replaced and self._passed.gives_way(call, now))):
            self._pass_over(item, rows)
            return
        if self.flushes.waits(call, rows.newest, now):
            return
        if self._keys.waiting and target_of(call) in self._keys.waiting:
            self._block(call)
            return
        try:
            self._enter(item, rows, now)
        except Exception as error:  # a fault in a destination's module is this call's end, not the connection's
            if item.settled:
                raise
            self._faults += 1
            if self._faults >= FAULTS and not self.admitted:
                raise Stopped(module_fails(place(error))) from error
            self.settle(item, fault(error))

    def _item(self, waiting: Waiting) -> Item:
        item, mark = Item(waiting.call), waiting.mark
        item.since, item.maybe, item.marked, item.job = mark.since, mark.maybe, mark.maybe, mark.job
        if mark.job:
            item.doubt = mark.until > 0.0, mark.until
        if mark.maybe:  # if it was out when an earlier process ended, that was before this one began
            item.until = mark.until or may_land_until(self._began)
            self.given_up([item])
        return item

    # -- what may land yet

    def given_up(self, items: Sequence[Item]) -> None:
        """Note until when requests of these calls, which were given up, may land."""
        now = self._wall()
        latest = 0.0
        for item in items:
            if item.until > now:
                profile = item.call.profile_id
                self._may_land[profile] = latest = max(self._may_land.get(profile, 0.0), item.until)
        if latest > self._all_may_land:
            self.books.remember({LANDS: latest})

    def waits_until(self, call: Call) -> float:
        """When a call may go: a deletion when nothing of its person that was given up may land behind it; what is told
        anew when the person's deletion is through. Seconds since 1970."""
        if call.kind != "delete":
            return self._deleted.get(fingerprint(call.profile_id), 0.0) if self._deleted else 0.0
        return max(self._may_land.get(call.profile_id, 0.0), self._all_may_land)

    def _note_deletion(self, call: Call, now: float) -> None:
        """The vendor answered a deletion, and needs time for it."""
        through = [profile for profile, until in takewhile(lambda each: each[1] <= now, self._deleted.items())]
        for profile in through:
            del self._deleted[profile]
        person, until = fingerprint(call.profile_id), now + self._destination.deletion_takes
        self._deleted.pop(person, None)
        self._deleted[person] = until
        self.books.remember({**{DELETED + profile: None for profile in through}, DELETED + person: until})

    def scheduled(self) -> float:
        """When the first of the calls that wait for a time is due, or a flush is over."""
        return min(self.flushes.next(), self.flushes.closes(), self.dated.next(), self.landing.next())

    def _enter(self, item: Item, rows: Rows, now: float) -> None:
        call = item.call
        unit = self._destination.unit(call)
        if call.kind == "delete" or self.put_off.any or self.landing.any or self._deleted:
            lanes = self._lanes.keys(call, unit)
            if (until := self.waits_until(call)) > now:
                self.landing.add(call.ask, until, lanes)
                return
            if self.put_off.waits(call.ask, now, lanes) or self.landing.waits(call.ask, now, lanes):
                return
        if self._net(item, rows):
            return
        if rejected := self._destination.check(call):
            self.settle(item, rejected)
            return
        self._lanes.add(item, unit)
        self.items[call.ask] = item
        self.flushes.entered(call, 1)
        self.admitted += 1

    # -- what replaces what

    def _net(self, item: Item, rows: Rows) -> bool:
        """Settle what this call takes the place of; whether it needs no request itself."""
        call = item.call
        if call.replaces:
            self._take_the_place(item, rows)
        if call.opens:
            if call.opens in self.items:
                self._followers.setdefault(call.opens, []).append(item)
            elif (end := self._end_of(call.opens, rows)) and opens_nothing(call, end.receipt):
                self.settle(item, Superseded())
                return True
        if not call.replaces or item.maybe or not needless(call, item.before):
            return False
        self.settle(item, Superseded())
        return True

    def _take_the_place(self, item: Item, rows: Rows) -> None:
        """Settle the call that this one replaces, if it did not go yet; learn what the vendor has, if that is known."""
        item.before = None
        if replaced := self.items.get(item.call.replaces):
            if replaced.out or replaced.job:
                replaced.taken_back = True
                self._followers.setdefault(item.call.replaces, []).append(item)
            else:
                replaced.heir = item
                self.settle(replaced, Superseded())
        if end := self._end_of(item.call.replaces, rows):
            self._learn(item, end)

    def _pass_over(self, item: Item, rows: Rows) -> None:
        """Supersede a call in whose place there is another one, far behind it in the log after a long outage.

        Or it is settled already: what was in flight when an earlier process ended would go again behind it.
        """
        if item.call.replaces:
            self._take_the_place(item, rows)
        self.settle(item, Superseded())

    def _end_of(self, ask: int, rows: Rows) -> End | None:
        """The end of another call. A call that only waits in the log is superseded now, for it is replaced."""
        if end := self._known_end(ask, rows):
            return end
        match rows.known.get(ask):
            case Waiting() as waiting if ask not in self.items and _may_be_superseded(waiting):
                replaced = self._item(waiting)
                before = waiting.call.before
                if waiting.call.replaces:
                    end = self._end_of(waiting.call.replaces, rows)
                    before = known(waiting.call, end.receipt, end.before) if end else None
                replaced.before = before
                self.settle(replaced, Superseded())
                return self._ends[ask]
            case _:
                return None

    def _known_end(self, ask: int, rows: Rows) -> End | None:
        if end := self._ends.get(ask):
            return end
        receipt = rows.known.get(ask)  # what the vendor had ahead of it, only the process knew that settled it
        return End(receipt, None) if isinstance(receipt, Receipt) else None

    def _learn(self, item: Item, end: End) -> None:
        """The call that this one replaces has come to its end: so it is known what the vendor has."""
        item.before = known(item.call, end.receipt, end.before)
        self._inherit(item, end)

    def _inherit(self, item: Item, end: End) -> None:
        """Take over the doubt about a call that this one replaces: a request of it may have landed."""
        if end.receipt.fate == "superseded" and end.receipt.maybe:
            item.maybe = True
            item.until = max(item.until, end.receipt.unsure_until)

    # -- cancels

    def _cancel(self, cancel: Call) -> None:
        """Supersede what waits in the scope of a cancel; what is out is not tried again."""
        self._open_cancels[cancel.ask] = cancel
        self._cancels.setdefault(cancel.profile_id, []).append(cancel)
        for item in self._lanes.of(cancel.profile_id):
            if not takes_back(cancel, item.call):
                continue
            if item.out:
                item.taken_back = True
            else:
                self.settle(item, Superseded())

    def _taken_back(self, call: Call) -> bool:
        return any(takes_back(cancel, call) for cancel in self._cancels.get(call.profile_id, ()))

    def _end_cancels(self) -> None:
        """Settle cancels behind which nothing of their scope can be read any more."""
        if not self._open_cancels:
            return
        waits = min(self.flushes.first, self.dated.first, self.put_off.first, self.landing.first, self.blocked_first)
        read = min(*self.at.values(), waits - 1)
        for ask in [ask for ask in self._open_cancels if ask <= read]:
            cancel = self._open_cancels.pop(ask)
            mine = self._cancels[cancel.profile_id]
            mine.remove(cancel)
            if not mine:
                del self._cancels[cancel.profile_id]
            receipt = self.books.settle_cancel(cancel, self._wall())
            self._ends[ask] = End(receipt, None)

    # -- the end

    def settle(self, item: Item, outcome: Final, by_vendor: bool = False) -> None:
        """Write the final outcome of a call. `by_vendor`: it is the vendor's word."""
        call = item.call
        receipt = self.books.settle(item, outcome, self._wall())
        self._ends[call.ask] = End(receipt, item.before)
        if not isinstance(outcome, Superseded):
            self._passed.ended(call)
        if call.kind == "delete" and self._destination.deletion_takes and isinstance(outcome, Delivered):
            self._note_deletion(call, self._wall())
        if self.items.pop(call.ask, None):
            self._lanes.done(item)
            if self.flushes.entered(call, -1):
                self.end_flushes()
        self.dated.gone(call.ask)
        if by_vendor:
            self.heard(outcome)
        for follower in self._followers.pop(call.ask, ()):
            self._follow(follower, End(receipt, item.before))

    def _follow(self, item: Item, end: End) -> None:
        if item.settled or item.out:
            return
        if item.call.replaces == end.receipt.ask:
            self._learn(item, end)
        if (item.call.replaces and not item.maybe and needless(item.call, item.before)) or opens_nothing(
            item.call, end.receipt
        ):
            self.settle(item, Superseded())

    def put_aside(self, item: Item, due: float | None) -> None:
        """A call leaves memory without an outcome, until `due` (seconds since 1970; None: until a later run)."""
        self._put_aside(item, due if due is not None else _NEVER, self.put_off)

    def put_aside_until_landed(self, item: Item) -> None:
        """A call leaves memory until the time of `waits_until`."""
        self._put_aside(item, self.waits_until(item.call), self.landing)

    def _put_aside(self, item: Item, due: float, holding: PutOff) -> None:
        holding.add(item.call.ask, due, [lane.key for lane in item.lanes])
        self._leave(item, holding)

    def _leave(self, item: Item, holding: PutOff | None = None) -> None:
        """A call leaves memory without an outcome. `holding`: there it waits, and what is behind it has to wait too."""
        self.books.put_aside([item])
        del self.items[item.call.ask]
        if holding is not None:
            self._shut(item, holding)  # as long as it is in its lanes
        self._lanes.done(item)
        self.flushes.entered(item.call, -1)

    def _shut(self, item: Item, holding: PutOff) -> None:
        """Calls that wait behind this one leave memory too, and those behind them: in a loop, for they are many."""
        behind = [other for lane in item.lanes for other in lane.waiting if not other.gone and other is not item]
        while behind:
            other = behind.pop()
            if other.call.ask not in self.items:
                continue
            holding.waits(other.call.ask, self._wall(), [lane.key for lane in other.lanes])
            behind += [each for lane in other.lanes for each in lane.waiting if not each.gone and each is not other]
            self._leave(other)

    def is_behind(self, item: Item) -> bool:
        """Whether an earlier call of its lanes left memory. Then this one leaves too, for it must not pass that one."""
        if not (self.put_off.any or self.landing.any):
            return False
        lanes, now = [lane.key for lane in item.lanes], self._wall()
        for holding in (self.put_off, self.landing):
            if holding.waits(item.call.ask, now, lanes):
                self._leave(item, holding)
                return True
        return False

    def block(self, item: Item) -> None:
        """The call's key is blocked: the call leaves memory until that is fixed."""
        self._leave(item)
        self.flushes.cut_short(item.call.slot)
        self._block(item.call)

    def _block(self, call: Call) -> None:
        self.blocked += 1
        self.blocked_first = min(self.blocked_first, call.ask)

    def unblock(self) -> None:
        """Read again what was blocked."""
        if self.blocked:
            self.read_again(int(self.blocked_first))
            self.flushes.go_on()
        self.blocked, self.blocked_first = 0, _NEVER

    def end_flushes(self) -> None:
        if facts := self.flushes.ended(min(self.at.values()), self._wall()):
            self.books.remember(facts)


def _may_be_superseded(waiting: Waiting) -> bool:
    """Whether a call that waits in the log may be: not an occurrence, and not what is in a job."""
    return waiting.call.kind != "track" and not waiting.mark.job


__all__ = ["Admission", "End"]
