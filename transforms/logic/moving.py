"""Moving a state from Kafka into a directory: what a log of numbers and a ledger need there.

A job's fold numbers asks by the clock, for each profile alone; a directory's log wants a number once for each
connection. And an engine that died may have asked for what it never wrote down: nobody would ever answer that.
"""

from collections.abc import Callable, Mapping

from msgspec.structs import replace

from schemas.calls import Call
from schemas.state import ProfileState, Rest


class Numbers:
    """The numbers of one connection's calls, each given once. Calls of a profile keep their order."""

    def __init__(self) -> None:
        self._taken: set[int] = set()
        self.changed: dict[str, dict[int, int]] = {}  # by profile: old number, new number

    def enter(self, call: Call) -> Call:
        """The call with a number that no call before it has. Calls of one profile come in their order."""
        mine = self.changed.get(call.profile_id, {})
        number = max(call.ask, max(mine.values(), default=0) + 1) if mine else call.ask
        while number in self._taken:
            number += 1
        self._taken.add(number)
        if number != call.ask:
            self.changed.setdefault(call.profile_id, {})[call.ask] = number
        if number == call.ask and not mine:
            return call
        return replace(
            call, ask=number, replaces=mine.get(call.replaces, call.replaces), opens=mine.get(call.opens, call.opens)
        )


def renumber(state: ProfileState, changed: Mapping[int, int], slots: Callable[[int], bool]) -> None:
    """Write the new numbers of a profile's calls into its ledger; `slots`: whether one is of their connection."""
    for slot, entries in state.ledger.items():
        for entry in entries.values() if slots(slot) else ():
            if entry.open is not None:
                entry.open.ask = changed.get(entry.open.ask, entry.open.ask)
    # Receipts of calls from before a deletion are not believed, whatever number they have now.
    state.cut = max([state.cut, *(new for old, new in changed.items() if old <= state.cut)])


def release_lost(state: ProfileState, waits: Callable[[int, int], bool]) -> bool:
    """Ask anew what was asked and is in no log: it may have been sent. Whether there was any.

    `waits(slot, ask)`: whether the call is in a log.
    """
    found = False
    for slot, entries in state.ledger.items():
        for entry in entries.values():
            if entry.open is None or waits(slot, entry.open.ask):
                continue
            found, entry.open, entry.told, entry.exposed = True, None, None, True
            if entry.rest is not None:
                entry.rest.said = None
                entry.rest = entry.rest if entry.rest != Rest() else None
    return found
