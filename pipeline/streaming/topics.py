"""The topics of a job: what they are for, how they are made, and what is checked of those that are there.

workspace    versions of the workspace, whole: the last one counts; and numbers of jobs; one partition; compacted never
state        what is known of each profile, by profile; compacted: the engine-neutral copy of the job's state
facts        receipts, retries, records that are tried again, and who left an account, for the fold, by subject;
             and probes of how far ticks have come
ticks        profiles that are to be looked at anew, by profile
history      events of files that were given beside topics, by profile
notes        small things that commands remember, see `notes`; compacted
dead         records that were no events, and calls that failed; one partition
calls.NAME   what a connection is to be told, in order; one partition; freed by its sender
sent.NAME    what became of it: receipts, in order; one partition
kept.NAME    marks, small facts, and how far it is settled; one partition; compacted
leases       who sends; nothing is written to it, its partitions are what senders share among themselves
"""

import time
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic, ResourceType  # type: ignore[attr-defined]

from pipeline.streaming.kafka import LARGEST, WAIT, Kafka, KafkaProblem, kafka_errors, topics_of

LEASES = 64  # partitions: groups of connections that can have senders of their own
_DEFAULT = -1  # replicas: what the broker says
FOREVER = {"retention.ms": "-1", "retention.bytes": "-1"}
_WEEK = {"retention.ms": str(7 * 86_400_000), "retention.bytes": "-1"}
_SIZE = {"max.message.bytes": str(LARGEST)}  # a record that a topic refuses would stop a job, or a sender, for ever
_COMPACTED = {"cleanup.policy": "compact"} | _SIZE
_DELETED = {"cleanup.policy": "delete"} | _SIZE
# A sender reads all of it before it begins; what lies in the newest segment is never compacted.
_SMALL = {"segment.bytes": str(2 * LARGEST)}
# By the broker's clock: a sender reads there when the one before it wrote last.
_APPENDED = {"message.timestamp.type": "LogAppendTime"}


class Wanted(NamedTuple):
    """How a topic is to be. `config` is checked too where it is there already."""

    partitions: int
    config: Mapping[str, str]
    fewest: int = 0  # partitions, where it is there already


def job_topics(kafka: Kafka, partitions: int) -> dict[str, Wanted]:
    """The topics that a job has whatever its connections are."""
    return {
        kafka.topic("workspace"): Wanted(1, _DELETED | FOREVER),
        kafka.topic("state"): Wanted(partitions, _COMPACTED),
        kafka.topic("facts"): Wanted(partitions, _DELETED | _WEEK),
        kafka.topic("ticks"): Wanted(partitions, _DELETED | _WEEK),
        kafka.topic("dead"): Wanted(1, _DELETED | {"retention.ms": str(90 * 86_400_000)}),
        kafka.topic("leases"): Wanted(LEASES, _DELETED, fewest=LEASES),
        kafka.topic("notes"): Wanted(1, _COMPACTED | _SMALL),
    }


def history_topic(kafka: Kafka, partitions: int) -> dict[str, Wanted]:
    """Made where a job begins: one that goes on from a savepoint reads it only if it read it before."""
    return {kafka.topic("history"): Wanted(partitions, _DELETED | _WEEK)}


def connection_topics(kafka: Kafka, name: str) -> dict[str, Wanted]:
    """The topics of one connection."""
    return {
        kafka.topic("calls", name): Wanted(1, _DELETED | FOREVER),
        kafka.topic("sent", name): Wanted(1, _DELETED | FOREVER),
        kafka.topic("kept", name): Wanted(1, _COMPACTED | _SMALL | _APPENDED),
    }


def ensure(kafka: Kafka, wanted: Mapping[str, Wanted]) -> list[str]:
    """Make those that are missing; their names. Raises KafkaProblem where one that is there is not as it has to be."""
    admin = kafka.admin()  # its answers do not come any more when it is gone
    there = topics_of(kafka, admin)
    _check(kafka, {name: each for name, each in wanted.items() if name in there}, there)
    missing = {name: each for name, each in wanted.items() if name not in there}
    made = [
        NewTopic(name, num_partitions=each.partitions, replication_factor=_DEFAULT, config=dict(each.config))
        for name, each in missing.items()
    ]
    for name, future in (admin.create_topics(made) if made else {}).items():
        try:
            future.result(WAIT)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:  # another process made it meanwhile
                raise KafkaProblem(f"the topic {name} cannot be made: {error.args[0].str()}") from error
    _wait(kafka, admin, missing)
    return sorted(missing)


def _wait(kafka: Kafka, admin: AdminClient, names: Iterable[str]) -> None:
    """A broker knows of a topic a moment after it was made."""
    until, left = time.monotonic() + WAIT, set(names)
    while left and time.monotonic() < until:
        left -= topics_of(kafka, admin).keys()
        if left:
            time.sleep(0.05)


def _check(kafka: Kafka, wanted: Mapping[str, Wanted], there: Mapping[str, object]) -> None:
    faults = []
    for name, each in wanted.items():
        found = len(there[name].partitions)  # type: ignore[attr-defined]
        if each.partitions == 1 and found != 1:
            faults.append(f"{name} has {found} partitions; it needs exactly 1")
        if found < each.fewest:
            faults.append(f"{name} has {found} partitions; it needs {each.fewest}, or some connections have no sender")
    for name, config in _configs(kafka, wanted).items():
        for option in ("cleanup.policy", "retention.ms", "retention.bytes", "max.message.bytes"):
            expected = wanted[name].config.get(option)
            if expected is not None and _worse(option, config.get(option, expected), expected):
                faults.append(f"{name} has {option}={config[option]}; set it to {expected}")
    if faults:
        raise KafkaProblem("\n".join([*faults, "Change that first: otherwise calls or state could be lost."]))


def _worse(option: str, found: str, expected: str) -> bool:
    if option == "cleanup.policy":
        return found != expected
    return found != "-1" and (expected == "-1" or int(found) < int(expected))


def _configs(kafka: Kafka, names: Iterable[str]) -> dict[str, dict[str, str]]:
    resources = [ConfigResource(ResourceType.TOPIC, name) for name in names]
    found = {}
    admin = kafka.admin()
    for resource, future in (admin.describe_configs(resources) if resources else {}).items():
        with kafka_errors():
            found[resource.name] = {name: entry.value for name, entry in future.result(WAIT).items()}
    return found
