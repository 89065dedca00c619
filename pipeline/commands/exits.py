"""How a command ends: its exit codes, and the line that says why."""

import sys

DONE, USAGE, REJECTED, PERSON, AGAIN = range(5)


def ended(why: object, code: int) -> int:
    """Say why; the exit code."""
    print(why, file=sys.stderr)
    return code


def wrong(command: str, fault: str) -> int:
    """What is wrong with how a command was called; the exit code."""
    return ended(f"profilecast {command}: {fault}", USAGE)
