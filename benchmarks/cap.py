"""The cap as a server sees it: a backlog at each cap.

    python -m benchmarks.cap [--seconds 60]

Each cap has a sending process and a receiver of its own; the slow ones run at the same time, the fast ones one by one,
or the figures would be those of a busy machine. Then some once more, before a receiver that takes its time to answer.
Shown: the most requests in any sliding second, and the share of the cap that was used from the first request to the
last.
"""

import argparse
import subprocess
import sys

from benchmarks.deliveries import hook
from benchmarks.machine import facts
from benchmarks.receiver import receiver
from schemas.workspace import Cap
from transforms.sending.sender import Sender

TURNS = ((2, 5, 8, 10, 30), (100,), (200,), (500,))
# Caps, and seconds to an answer.
LATE = ((30, 0.6), (100, 0.2), (100, 0.9), (500, 0.1), (500, 0.4), (100, 3.0), (30, 10.0), (100, 10.0))


def measure(cap: int, seconds: float, late: float) -> None:
    """One line of figures."""
    number = int(cap * seconds)
    with receiver(late) as there:
        Sender().start(hook("hook", there.url, number, Cap(cap))).result()
        seen = there.figures()
    assert number == seen["requests"]
    used = (number - 1) / seen["seconds"] / cap
    mark = "" if seen["peak"] <= cap and used >= 0.98 else "  MISSED"
    most = f"{number:>6,} requests, at most {seen['peak']:>3} in a second"
    print(f"{cap:>5}/s, answers after {late:.1f} s: {most}, {used:.1%} of the cap used{mark}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--cap", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--late", type=float, default=0.0, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.cap:
        measure(arguments.cap, arguments.seconds, arguments.late)
        return
    print(facts())
    command = [sys.executable, "-m", "benchmarks.cap", "--seconds", str(arguments.seconds), "--cap"]
    for caps in TURNS:
        running = [subprocess.Popen([*command, str(cap)], stdout=subprocess.PIPE, text=True) for cap in caps]
        for each in running:
            print(each.communicate()[0], end="", flush=True)
    for cap, late in LATE:
        print(subprocess.check_output([*command, str(cap), "--late", str(late)], text=True), end="", flush=True)


if __name__ == "__main__":
    main()
