"""`profilecast`, and `python -m pipeline`."""

import signal
import sys


def main() -> int:
    """The command line. Ctrl-C and SIGTERM are heard from the beginning: loading takes a while."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        from pipeline.cli import main as begin
    except KeyboardInterrupt:
        from pipeline.commands.exits import stopped_early

        return stopped_early(sys.argv[1:])
    return begin()


if __name__ == "__main__":
    sys.exit(main())
