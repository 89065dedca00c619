"""Serve a broker, and perhaps Flink, until stopped.

    python -m scripts.engines --folder DIR --ready-file FILE [--flink]

The file gets two lines: the broker's address, and the options of Beam for the engine.
"""

import argparse
import signal
from contextlib import ExitStack
from pathlib import Path
from threading import Event

from scripts.engines import PRISM
from scripts.engines.flink import cluster
from scripts.engines.kafka import broker


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m scripts.engines", description=__doc__)
    parser.add_argument("--folder", type=Path, required=True, metavar="DIR", help="where their files go")
    parser.add_argument("--ready-file", type=Path, required=True, metavar="FILE")
    parser.add_argument("--flink", action="store_true", help="a Flink cluster too; without it the engine is Prism")
    options = parser.parse_args()
    ended = Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    with ExitStack() as stack:
        kafka = stack.enter_context(broker(options.folder / "kafka"))
        beam = stack.enter_context(cluster(options.folder / "flink")).beam if options.flink else PRISM
        options.ready_file.write_text(f"{kafka.servers}\n{' '.join(beam)}\n")
        ended.wait()


if __name__ == "__main__":
    main()
