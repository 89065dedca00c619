"""In flight: when one more conversation is begun, so that a cap is used up however long answers take.

    read ─► waiting for its turn ─► sent, not answered yet ─► answered
            a few                   rate × time to an answer, by itself (Little's law)

It is begun while few wait for their turn. So as many are under way as the vendor's answers take at this moment: there
is nothing to measure, and nothing to learn anew when answers become slow. More would not go faster, and a busy event
loop would get busier: it would let many go in one step, and hear of their answers late.
"""

FEWEST = 16  # conversations at once where there is no cap to use up
SLOWEST = 30.0  # seconds to an answer; before slower ones (a longer read timeout) a cap is not used up
_LEAD = 0.05  # seconds of requests that wait for their turn: a busy sender begins new work late


def waiting(rate: float) -> int:
    """How many may wait for their turn, of a cap of so many requests per second."""
    return 2 + int(rate * _LEAD)


def needed(rate: float) -> int:
    """How many conversations at once use the cap up before the slowest answers."""
    return int(rate * SLOWEST) + waiting(rate) if rate else FEWEST


def room(running: int, wait: int, rate: float, most: int) -> bool:
    """Whether one more conversation may begin. `running`: those under way; `wait`: those of them that wait for a turn.

    `rate`: of the cap, requests per second; 0 is none. `most`: as the vendor bears, see `caps.at_once`.
    """
    return running < most and (wait < waiting(rate) if rate else running < FEWEST)
