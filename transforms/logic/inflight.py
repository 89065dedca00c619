"""In flight: how many conversations are held at once, so that a cap is used up though answers take their time.

Little's law: requests under way = rate × time to an answer. More would not go faster, and a busy
event loop would get busier: it would let many go in one step, and hear of their answers late.
"""

FEWEST = 16  # conversations
SLOWEST = 1.0  # seconds to an answer; before slower ones a cap is not used up
_MARGIN = 2.0  # times: some answers take longer than others, and some conversations wait for their turn
_MEMORY = 32  # answers


class InFlight:
    """Learns how long answers take, and says whether there is room for one more conversation."""

    def __init__(self, most: int, now: float) -> None:
        self.most = most
        self._answer = 0.0  # seconds to one, on average
        self._began = self._last = now  # when one came

    def answered(self, now: float, seconds: float) -> None:
        """A request was under way, or a conversation slept ahead of it, for so long."""
        self._answer += (min(seconds, SLOWEST) - self._answer) / _MEMORY
        self._last = now

    def learning(self, now: float) -> bool:
        """Nothing is known of the vendor yet: there may be room by time alone."""
        return self._last == self._began and now - self._began < SLOWEST

    def room(self, now: float, held: int, rate: float) -> bool:
        """Whether one more beside those held helps to use a cap of so many requests per second.

        While there is no answer, the next one will have taken at least that long.
        """
        if held < FEWEST or held >= self.most:
            return held < self.most
        answer = max(self._answer, min(now - self._last, SLOWEST))
        return held < rate * _MARGIN * answer
