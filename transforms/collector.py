"""Python's garbage collector, where shards and requests are many objects without cycles."""

import gc


def collect_seldom() -> None:
    """Let the garbage collector never look again at what is loaded by now, and seldom at what comes.

    With Python's own thresholds a third of the time of detection went to looking, and what Beam has
    loaded took 70 ms to look at: so long no request was sent.
    """
    gc.freeze()
    gc.set_threshold(100_000, 20, 100)
