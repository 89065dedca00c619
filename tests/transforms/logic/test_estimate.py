"""How long so many requests take at several caps at once."""

from collections.abc import Sequence

import pytest

from schemas.limits import Limit
from transforms.logic.estimate import Asked, seconds_at

SECOND, HOUR, DAY = 1.0, 3600.0, 86_400.0


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ([], 0.0),
        ([Limit(10)], 60.0),
        ([Limit(10), Limit(5, endpoint="writes")], 80.0),
        ([Limit(10), Limit(100, endpoint="writes")], 60.0),
        ([Limit(10), Limit(1, endpoint="deletions")], 60.0),
        ([Limit(10, unit="objects")], 3_060.0),
        ([Limit(600, 60.0)], 60.0),
        ([Limit(600, HOUR)], 0.0),
        ([Limit(599, HOUR)], HOUR),
        ([Limit(100, DAY)], 5 * DAY),
        ([Limit(10), Limit(300, HOUR)], HOUR),
    ],
)
def test_the_slowest_cap_counts(limits: Sequence[Limit], expected: float) -> None:
    asked = {"": Asked(200, 200), "writes": Asked(400, 30_400)}
    assert expected == seconds_at(asked, limits)


def test_nothing_takes_no_time() -> None:
    assert 0.0 == seconds_at({}, [Limit(1), Limit(1, DAY)])
