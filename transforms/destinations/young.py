"""Young: what was just made at a vendor. For a while, "not there" means "not there yet"."""

from collections.abc import Hashable

# Seconds until it is asked for again; some minutes in all. Several requests may ask at once.
WAITS = (2.0, 4.0, 8.0, 15.0, *[30.0] * 6)


class Young:
    """Things that this process made at the vendor, and that it has not seen there since."""

    def __init__(self) -> None:
        self._missed: dict[Hashable, int] = {}  # how often each was not there

    def made(self, thing: Hashable) -> None:
        self._missed[thing] = 0

    def seen(self, thing: Hashable) -> None:
        """A thing was seen at the vendor: from now on it is not young any more."""
        self._missed.pop(thing, None)

    def __contains__(self, thing: Hashable) -> bool:
        return thing in self._missed

    def wait(self, thing: Hashable) -> float | None:
        """The vendor says that a thing is not there. Seconds until to ask again; None: not to be waited for."""
        missed = self._missed.get(thing)
        if missed is None or missed >= len(WAITS):
            return None
        self._missed[thing] = missed + 1
        return WAITS[missed]
