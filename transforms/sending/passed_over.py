"""Passed over: whose calls gave way to newer ones that are not read yet, and since when.

After an outage only the newest values should go. But where changes come faster than a vendor takes them, a newer call
waits behind each one that is read: somebody who changes all the time would never be told anything. So after `LONGEST`
what is read goes into the lanes, and a newer call takes its place there (`Item.heir`).
"""

from schemas.calls import Call

LONGEST = 600.0  # seconds
_MOST = 50_000  # slots and identifiers that are remembered: those of which the first call was passed over last


class PassedOver:
    """Since when the calls of each slot and identifier have been passed over, all of them."""

    def __init__(self) -> None:
        self._since: dict[int, float] = {}  # by a hash of both; where two share one, a call may go that could give way

    def gives_way(self, call: Call, now: float) -> bool:
        """Whether this call, in whose place there is a newer one, is passed over too. Remembers that.

        `now`: seconds since 1970.
        """
        since = self._since.setdefault(hash((call.slot, call.identifier)), now)
        if len(self._since) > _MOST:
            del self._since[next(iter(self._since))]
        return now - since < LONGEST

    def ended(self, call: Call) -> None:
        """The call was told, or has another end than to be superseded."""
        self._since.pop(hash((call.slot, call.identifier)), None)


__all__ = ["LONGEST", "PassedOver"]
