"""The facts of the machine beside every figure."""

import os
import platform
import re
import resource
import sys
from importlib.metadata import version
from pathlib import Path


def facts() -> str:
    """Processor, cores, memory, Python and Beam on one line."""
    cpu = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    model = next((line.split(":", 1)[1].strip() for line in cpu.splitlines() if line.startswith("model name")), "")
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{model or platform.machine()}, {os.cpu_count()} cores, {memory:.0f} GiB, {platform.system()}, "
        f"Python {platform.python_version()}, apache-beam {version('apache-beam')}"
    )


def peak_memory() -> float:
    """Peak resident memory in MB, of this program only: on Linux `ru_maxrss` begins with that of what started it."""
    status = Path("/proc/self/status")
    if found := re.search(r"VmHWM:\s+(\d+) kB", status.read_text() if status.exists() else ""):
        return int(found[1]) / 2**10
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)
