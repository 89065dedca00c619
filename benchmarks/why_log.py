"""One person in the log of a job: seconds and memory of `profilecast why --log`.

    python -m benchmarks.why_log [--profiles 200000] [--waiting 200000] [--receipts 200000]

A broker on this machine (`scripts/install_engines.sh kafka`). Everybody has two identifiers, a score and an audience,
was told both, and has two states in the topic, of which the newer one counts. The one who is searched for is asked
something; `--waiting` calls of others go first, at the same connection. Each search is a process of its own.
"""

import argparse
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec

from benchmarks.machine import facts
from pipeline.streaming.kafka import Kafka, write_all
from pipeline.streaming.publishing import publish
from schemas.calls import Call, Identifier
from schemas.facts import ReceiptFact
from schemas.receipts import receipt_of
from schemas.registry import decode_registry
from schemas.state import Entry, Known, Open, ProfileState, encode_profile
from scripts.engines.kafka import broker
from tests.pipeline.running import workspace
from transforms.keyed import addressed

_SEARCH = """
import sys
from benchmarks.machine import peak_memory
from pipeline.cli import main
code = main(["why", *sys.argv[1:]])
print(f"{peak_memory():.0f}", file=sys.stderr)
sys.exit(code)
"""
Rows = Iterator[tuple[str, bytes | None, bytes | None]]


class Log:
    """What a job and its senders would have written."""

    def __init__(self, kafka: Kafka, slots: list[int]) -> None:
        self._kafka, self._slots = kafka, slots
        self._now = int(time.time() * 1_000_000)

    def states(self, number: int) -> Rows:
        for score in (1, 2):
            for n in range(number):
                state = self._state(n, score, last=n == number - 1)
                yield self._kafka.topic("state"), f"customer-{n:07}".encode(), state

    def _state(self, n: int, score: int, last: bool) -> bytes:
        ids = [Known("user_id", f"user-{n:07}", 1, 1), Known("email", f"user-{n:07}@example.com", 1, 1)]
        told = {slot: {place: Entry(told=b"2", exposed=True) for place in (0, 1)} for slot in self._slots}
        state = ProfileState(ids=ids, values={0: (1, True), 1: (1, score)}, ledger=told, asked=[(self._now, 6)])
        if last:
            state.ledger[self._slots[-1]] = {0: Entry(open=Open(self._now, b"2"))}
        return encode_profile(state)

    def calls(self, number: int, last: int) -> Rows:
        for n in [*(n % last for n in range(number)), last]:
            yield self._kafka.topic("calls", "hook"), b"", msgspec.msgpack.encode(self._call(n))

    def receipts(self, number: int) -> Rows:
        for n in range(number):
            receipt = receipt_of(self._call(n, earlier=1), "delivered", time.time())
            yield self._kafka.topic("facts"), *addressed(receipt.profile_id, ReceiptFact(receipt))

    def _call(self, n: int, earlier: int = 0) -> Call:
        who = Identifier("user_id", f"user-{n:07}")
        ask = self._now - earlier
        return Call(f"customer-{n:07}", "identify", who, "score", 2, ask, ask, slot=self._slots[-1])


def fill(kafka: Kafka, root: Path, profiles: int, waiting: int, receipts: int) -> None:
    text = workspace(root / "workspace.yaml", "hook").read_text()
    version = publish(kafka, text, "workspace.yaml", False, lambda *_, **__: None)
    log = Log(kafka, [*range(1, len(decode_registry(version.registry).slots) + 1)])
    for rows in (log.states(profiles), log.calls(waiting, profiles - 1), log.receipts(receipts)):
        write_all(kafka.producer(), rows)


def search(kafka: Kafka, who: str) -> None:
    command = [sys.executable, "-c", _SEARCH, who, "--log", f"kafka://{kafka.servers}/{kafka.name}"]
    began = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    took = time.perf_counter() - began
    line = next(line for line in done.stdout.splitlines() if "it waits behind" in line)
    print(f"{who}: {took:.1f} s, {done.stderr.split()[-1]} MB; {line.strip()}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("profiles", "waiting", "receipts"):
        parser.add_argument(f"--{name}", type=int, default=200_000)
    args = parser.parse_args()
    print(facts())
    with TemporaryDirectory() as folder, broker(Path(folder) / "kafka") as made:
        kafka = Kafka(made.servers, "log")
        fill(kafka, Path(folder), args.profiles, args.waiting, args.receipts)
        for who in (f"customer-{args.profiles - 1:07}", f"email:user-{args.profiles - 1:07}@example.com") * 2:
            search(kafka, who)


if __name__ == "__main__":
    main()
