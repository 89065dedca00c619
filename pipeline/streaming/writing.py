"""What the folds of a streaming job give goes into the topics of its log, from the bundle in which it was folded.

A sender tells the calls of a profile in their order in the topic, so they have to be written in the order in which they
were folded. Engines keep no order from one step to the next, so writing is no step of its own.
"""

import threading
import time
from typing import Any

import msgspec
from confluent_kafka import KafkaError, Message, Producer

from pipeline.streaming import versions
from pipeline.streaming.kafka import Kafka, KafkaProblem, Row, kafka_errors, produce
from schemas.dead_letters import mask
from schemas.facts import TickFact
from schemas.state import takes_ticks
from transforms.keyed import Outlet, addressed

_PATIENCE = 120.0  # seconds until what was written is on the broker: one that is restarted is waited for
_SURE = 2.0  # seconds that a worker's version of the workspace counts as the newest; a publisher waits for more
_producers: dict[Kafka, Producer] = {}
_making = threading.Lock()


def _producer(log: Kafka) -> Producer:
    """This process's producer: connections to brokers cost more than records."""
    with _making:
        if log not in _producers:
            _producers[log] = log.producer()
        return _producers[log]


class LogOutlet(Outlet):
    """All of a bundle is on the broker before the engine takes it for done.

    States come last: one that says that a call was asked is never there without that call, wherever the job dies.

    Whoever publishes a workspace reads the states, and gives everybody a tick who has one. A state that is written
    behind that, with the workspace before, would be left out. So a bundle looks when its states are there: whoever
    it wrote is given a tick, if there is a newer workspace. One of the two sees the other.
    """

    def __init__(self, log: Kafka, masked: bool = False, job: int = 0) -> None:
        """`masked`: dead letters are written without personal data. `job`: its number; one that was replaced fails."""
        self._log, self._masked, self._job = log, masked, job

    def begin(self) -> None:
        versions.following(self._log).claim(self._job)
        self._failed: list[str] = []
        self._given, self._taken = 0, list[None]()  # records; answers come on any thread that uses the producer
        self._states: list[Row] = []
        reading = versions.following(self._log)
        self._sure = reading.sure
        self._version = reading.version.number if reading.version else 0

    def take(self, kind: str, value: Any) -> bool:
        match kind:
            case "calls":
                connection, subject, call = value
                name = versions.following(self._log).first_name(connection)
                self._write((self._log.topic("calls", name), subject.encode(), call))
            case "states":
                name, state = value
                self._states.append((self._log.topic("state"), name.encode(), state))
            case "dead_letters":
                letter = mask(value) if self._masked else value
                self._write((self._log.topic("dead"), b"", msgspec.json.encode(letter)))
            case "left":  # for an account, or a probe; it comes back as a fact: a graph has no circles
                self._write((self._log.topic("facts"), *value))
            case _:
                return False
        return True

    def end(self) -> None:
        self._wait()
        versions.following(self._log).claim(self._job)
        for row in self._states:
            self._write(row)
        self._wait()
        if self._states and time.monotonic() > self._sure + _SURE:
            self._look_for_newer()

    def _look_for_newer(self) -> None:
        newest = versions.following(self._log).up_to_now()
        if newest is None or newest.number == self._version:
            return
        for _, key, state in self._states:
            if key and state and takes_ticks(name := key.decode()):
                self._write((self._log.topic("ticks"), *addressed(name, TickFact(newest.number))))
        self._wait()

    def _write(self, row: Row) -> None:
        topic, key, value = row
        self._given += 1
        with kafka_errors():
            produce(_producer(self._log), topic, key or None, value or None, self._done)

    def _done(self, error: KafkaError | None, _: Message) -> None:
        if error is not None:
            self._failed.append(error.str())
        self._taken.append(None)

    def _wait(self) -> None:
        """Until what was written is on the broker."""
        producer, until = _producer(self._log), time.monotonic() + _PATIENCE
        while self._given > len(self._taken) and time.monotonic() < until:  # `flush` would wait for others' records too
            producer.poll(0.05)
        if self._failed or self._given > len(self._taken):
            _producers.pop(self._log, None)  # it may have had a fault for good
            raise KafkaProblem(f"Kafka: {self._failed[0] if self._failed else 'records were not taken in time'}")
