"""Dead letters that a service tries again: a portion in each turn, when the receipts before are folded."""

from collections import deque

from pipeline.decider import Decided, Decider
from pipeline.replay import Wanted, find_letters
from transforms.logic.ledger import Retry
from transforms.logic.portion import Lines, parse_lines

_MOST = 500  # calls, or records, in a portion


class Replaying:
    """`want`, then `fold` until nothing is left. What was not reached when the process ended is to be asked again."""

    def __init__(self) -> None:
        self._wanted: deque[Wanted] = deque()
        self._retries: list[Retry] = []
        self._lines: list[Lines] = []

    def want(self, wanted: Wanted) -> None:
        self._wanted.append(wanted)

    def fold(self, decider: Decider) -> Decided | None:
        """Fold one portion; None: nothing is left. What cannot be folded now stays. Raises StoreError."""
        if self._wanted and not self._retries and not self._lines:
            replay = find_letters(decider.db, decider.registry, self._wanted[0]).replay()
            self._retries, self._lines = replay.retries, [part for lines in replay.lines for part in _parts(lines)]
            self._wanted.popleft()
        if self._retries:
            decided = decider.fold_retries(self._retries[:_MOST])
            del self._retries[:_MOST]
            return decided
        if self._lines:
            decided = decider.fold_parsed(parse_lines(self._lines[:1], decider.plan))
            del self._lines[:1]
            return decided
        return None


def _parts(lines: Lines) -> list[Lines]:
    places = range(0, len(lines.lines), _MOST)
    return [
        Lines(lines.source, lines.numbers[i : i + _MOST], lines.lines[i : i + _MOST], lines.records) for i in places
    ]
