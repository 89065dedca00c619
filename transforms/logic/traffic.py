"""Traffic: how many requests had an answer when, and how long answers took; small, however long it lasts."""

_MOST = 240  # rows: when there are more, two become one
BOUNDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)  # seconds of an answer
SLOWER = "more"


class Traffic:
    """Counts attempts of one connection. Times in seconds."""

    def __init__(self, start: float) -> None:
        self._start, self._width = start, 1.0
        self._rows: list[list[int]] = []  # requests, throttled ones
        self.answers: dict[str, int] = {}  # by the bound that they did not exceed

    def add(self, now: float, throttled: bool, took: float | None) -> None:
        """An attempt ended; `took` so long until its answer, if there was one."""
        place = int((now - self._start) / self._width)
        while place >= _MOST:
            self._rows = [_sum(self._rows[n : n + 2]) for n in range(0, len(self._rows), 2)]
            self._width *= 2
            place = int((now - self._start) / self._width)
        while len(self._rows) <= place:
            self._rows.append([0, 0])
        row = self._rows[place]
        row[0] += 1
        row[1] += throttled
        if took is not None:
            bound = next((f"{each:g}" for each in BOUNDS if took <= each), SLOWER)
            self.answers[bound] = self.answers.get(bound, 0) + 1

    def rows(self) -> list[tuple[float, float, int, int]]:
        """From when, for how long, requests, and how many of them the vendor throttled."""
        width = self._width
        return [(place * width, width, all, throttled) for place, (all, throttled) in enumerate(self._rows)]


def _sum(rows: list[list[int]]) -> list[int]:
    return [sum(each[0] for each in rows), sum(each[1] for each in rows)]
