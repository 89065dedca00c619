"""The graph of a streaming job. It knows no connection: they come and go with versions of the workspace.

history ─┐
events  ─┤                  ┌─ FoldAccounts ─┐
facts   ─┼─ Read ─ Address ─┤                ├ FoldProfiles
ticks   ─┘                  └────────────────┘

What the folds give, they write themselves: see `writing`.

Names of steps are names of state: `docs/streaming_steps.txt` has them, and to change one is a decision.
"""

import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import apache_beam as beam
import msgspec

from pipeline.streaming import ticks, versions
from pipeline.streaming.clients import Part
from pipeline.streaming.kafka import Kafka
from pipeline.streaming.pubsub import ReadSubscriptions
from pipeline.streaming.source import MANY
from pipeline.streaming.turns import ReadTopics
from pipeline.streaming.writing import LogOutlet
from schemas.facts import Addressed, EventFact, ProbeFact, SnapshotFact
from schemas.state import of_account
from transforms.counting import CountingFn
from transforms.keyed import FoldAccounts, FoldProfiles, Keyed, addressed, as_keyed
from transforms.logic.parse import subject_of
from transforms.logic.plan import Plan
from transforms.logic.portion import known_of
from transforms.logic.segment import events_of


def build(
    root: beam.Pipeline,
    log: Kafka,
    parts: Sequence[Part],
    group: str,
    masked: bool = False,
    subscriptions: Sequence[str] = (),
    history: Sequence[Part] = (),
    clients: int = MANY,
    job: int = 0,
) -> None:
    """The whole job. `parts`: partitions of the events, and of the log's facts and ticks; `group` commits offsets.

    `subscriptions`: of Pub/Sub, with events too. `history`: partitions with the events of files. `clients`: that read
    the partitions, at most. `job`: its number.
    """
    records = root | "Read" >> ReadTopics(parts, group, history, clients)
    if subscriptions:
        records = (records, root | "ReadPubSub" >> ReadSubscriptions(subscriptions)) | "Inputs" >> beam.Flatten()
    address = beam.ParDo(_AddressFn(log, job)).with_output_types(Keyed)
    address.label = "Address"
    facts = records | address.with_outputs("accounts", main="profiles")
    about_accounts = facts.accounts | "AboutAccounts" >> as_keyed()
    outlet = LogOutlet(log, masked, job)
    accounts = about_accounts | "FoldAccounts" >> FoldAccounts(Published(log), outlet=outlet)
    about_profiles = (facts.profiles, accounts["members"]) | "AboutProfiles" >> beam.Flatten()
    profiles = about_profiles | "FoldProfiles" >> FoldProfiles(Published(log), outlet=outlet)
    # Nothing comes here. Prism spins a core for each bundle of a step from which nobody reads.
    (accounts["calls"], profiles.calls) | "Rest" >> beam.Flatten()


class Published:
    """The plan of the version that was published last. Kept for each process, and looked for once a second."""

    def __init__(self, log: Kafka) -> None:
        self._log = log

    def plan(self, version: int, now: float) -> Plan:
        reading = versions.following(self._log)
        found = reading.look()
        if found is None or found.number < version:
            found = reading.at_least(version)
        plan = _plans.get((self._log, found.number))
        if plan is None:
            plan = found.plan(datetime.fromtimestamp(now, UTC))
            _plans[self._log, found.number] = plan
        if now * 1_000_000 - plan.now > 1_000_000:
            plan = msgspec.structs.replace(plan, now=int(now * 1_000_000))
            _plans[self._log, found.number] = plan
        return plan

    def newest(self, now: float) -> Plan | None:
        """The plan of the newest version; None: none is published."""
        return self.plan(0, now) if versions.following(self._log).look() else None

    def version(self) -> int:
        found = versions.following(self._log).version
        return found.number if found else 0


_plans: dict[tuple[Kafka, int], Plan] = {}


class _AddressFn(CountingFn):
    """(topic, key, value) → (key, packed `Addressed`); what is about accounts under `accounts`."""

    COUNTS = ("records", "records_about_accounts")

    def __init__(self, log: Kafka, job: int = 0) -> None:
        self._log, self._job = log, job
        self._ours = frozenset(map(log.topic, ("facts", "ticks", "history")))
        self._facts, self._state = log.topic("facts"), log.topic("state")
        self._published = Published(log)

    def start_bundle(self) -> None:
        versions.following(self._log).claim(self._job)  # a job that was replaced takes nothing from a subscription

    def process(self, record: tuple[str, bytes, bytes]) -> Iterator[Any]:
        """`record`: topic, key, value."""
        self.count("records")
        for subject, found in self._addressed(*record):
            about_account = of_account(subject)
            self.count("records_about_accounts", bool(about_account))
            yield beam.pvalue.TaggedOutput("accounts", found) if about_account else found

    def _addressed(self, topic: str, key: bytes, value: bytes) -> Iterator[tuple[str, Keyed]]:
        """What a record says, each with whom it is about."""
        if topic in self._ours:
            about = _about(value)
            if about is None:
                yield "", addressed("", EventFact(value))  # the fold makes a dead letter of what is no event
            elif topic == self._facts and isinstance(about.fact, ProbeFact):
                ticks.came_back(about.fact)
            else:
                yield about.subject, (key, value)
        elif topic == self._state:
            if value:
                subject = key.decode()
                found = addressed(subject, SnapshotFact(value))
                if subject[:1] == "\x00" and not of_account(subject):  # of somebody who was deleted: a hash
                    found = subject[1:].encode(), found[1]
                yield subject, found
        elif (named := subject_of(value)) is not None:
            yield named, addressed(named, EventFact(value))
        else:
            for event in self._said(value):
                subject = subject_of(event) or ""
                yield subject, addressed(subject, EventFact(event))

    def _said(self, message: bytes) -> Sequence[bytes]:
        """The events of a message in Segment's format, by the workspace that is known now; what is none, as it is."""
        plan = self._published.newest(time.time())
        return (plan and events_of(message, known_of(plan))) or (message,)


_fact = msgspec.msgpack.Decoder(Addressed).decode


def _about(value: bytes) -> Addressed | None:
    """None: it is no fact. All of it is read, for the fold has to be able to."""
    try:
        return _fact(value)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
