"""Which offsets may be committed: those of records that the engine's state has, whatever becomes of the job.

An engine says of bundles that they are final, and so the turns in them. Flink says it when a checkpoint is complete, of
all bundles that have ended by then: also of those that ended behind that checkpoint, whose records may still be on
their way to the fold. A turn that ends after this word belongs to a later checkpoint, and that has all that was read
before. So the places of one turn wait until one that ended later is final too.
"""

from collections.abc import Mapping
from typing import NamedTuple

Places = Mapping[tuple[str, int], int]  # the offset that is read next, by topic and partition


class _Final(NamedTuple):
    """Turns that are said to be final: when the last of them ended, when it was said, and how far they have read."""

    ended: float
    said: float
    places: Places


class Finals:
    """Of one client. Times are in seconds, and never go back."""

    def __init__(self) -> None:
        self._waiting: list[_Final] = []  # two at most: those that the next word makes sure, and those that came since

    def final(self, places: Places, ended: float, now: float) -> Places:
        """A turn that ended then, at these places, is said to be final. What may be committed of earlier ones."""
        # Where a job begins anew from a checkpoint, it reads again what was read behind that.
        self._waiting = [each for each in self._waiting if ended <= each.ended or not _behind(places, each.places)]
        sure: Places = {}
        while self._waiting and self._waiting[0].said < ended:
            sure = _furthest(sure, self._waiting.pop(0).places)
        if len(self._waiting) == 2:
            last = self._waiting.pop()
            ended, places = max(ended, last.ended), _furthest(places, last.places)
        self._waiting.append(_Final(ended, now, places))
        return sure


def _behind(places: Places, others: Places) -> bool:
    return any(places.get(place, offset) < offset for place, offset in others.items())


def _furthest(places: Places, others: Places) -> Places:
    return dict(places) | {place: max(offset, places.get(place, offset)) for place, offset in others.items()}
