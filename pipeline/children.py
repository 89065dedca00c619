"""Processes that a service starts for its work."""

import ctypes
import signal
import sys

_DIES_WITH_PARENT = 1  # PR_SET_PDEATHSIG of Linux


def die_with_parent() -> None:
    """Be killed when the process that started this one dies; where the system has that."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_DIES_WITH_PARENT, signal.SIGKILL)
