"""What changes while something dies, and how many calls that makes."""

from tests.engines.world import now
from tests.pipeline.running import Event, score, vip

CAP = 40  # requests a second
CHANGES = 40
CALLS = CHANGES * 2 + CHANGES // 2 * 2 * 2  # of `changes`: a score, and half of them by `identify` and `track`


def changes(base: int) -> list[Event]:
    """Scores of these people; every second one leaves, and is back with the next change."""
    scores = [score(f"u{number}", now(), base + number) for number in range(CHANGES)]
    return scores + [vip(f"u{number}", now(), base % 2_000 == 0) for number in range(0, CHANGES, 2)]
