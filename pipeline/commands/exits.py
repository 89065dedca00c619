"""How a command ends: its exit codes, and the line that says why."""

import sys
from collections.abc import Sequence

DONE, USAGE, REJECTED, PERSON, AGAIN = range(5)


def ended(why: object, code: int) -> int:
    """Say why; the exit code."""
    print(why, file=sys.stderr)
    return code


def stopped_early(given: Sequence[str]) -> int:
    """Ctrl-C or SIGTERM before there was anything to end: nothing is wrong. `given`: the words behind `profilecast`."""
    return ended("Stopped. Nothing was sent.", DONE if given[:1] in (["serve"], ["send"]) else AGAIN)


def wrong(command: str, fault: str) -> int:
    """What is wrong with how a command was called; the exit code."""
    return ended(f"profilecast {command}: {fault}", USAGE)
