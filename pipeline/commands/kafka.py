"""What commands have in common that use the topics of a job: their options, and how they end."""

import argparse
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.commands.arguments import positive
from pipeline.commands.exits import PERSON, USAGE, ended
from pipeline.problems import Ending, WorkspaceError

if TYPE_CHECKING:
    from pipeline.streaming.kafka import Kafka

_SOON = 3.0  # seconds for the first answer of a broker, until it is said that there is none


def add_log_arguments(parser: argparse.ArgumentParser, required: bool = True) -> None:
    add = parser.add_argument_group("Kafka").add_argument
    add(
        "--log",
        required=required,
        metavar="kafka://HOST:PORT/PREFIX",
        help="the topics of the job: calls, receipts, state, and the workspace",
    )
    add(
        "--kafka-options",
        type=Path,
        metavar="FILE",
        help="options of librdkafka, such as SASL and TLS: name=value lines",
    )


def add_partitions_argument(add: Callable[..., Any]) -> None:
    add(
        "--partitions",
        type=positive,
        metavar="N",
        help="of the topics of a new log, two or three for each subtask that its job will ever have (8); they can "
        "never be changed",
    )


def options_of(args: argparse.Namespace) -> dict[str, str]:
    """What `--kafka-options` says. Raises WrongAddress."""
    from pipeline.streaming.kafka import read_options

    return read_options(args.kafka_options) if args.kafka_options else {}


def log_of(args: argparse.Namespace, options: dict[str, str] | None = None) -> "Kafka":
    """`options`: of `options_of`, where they were read already. Raises WrongAddress and KafkaProblem."""
    from pipeline.streaming.kafka import WAIT, address, answers

    log = address(args.log, options_of(args) if options is None else options)
    if not answers(log, _SOON):
        print(f"{log.servers} does not answer; it is tried for {WAIT:.0f} s", file=sys.stderr, flush=True)
    return log


def guarded(what: Callable[[], int]) -> int:
    """Do it; what went wrong is one line and an exit code. Raises WorkspaceError."""
    try:
        import confluent_kafka  # noqa: F401
    except ImportError:
        return ended("Kafka needs another package: pip install '.[kafka]' in the project's folder", USAGE)
    try:
        return what()
    except Ending as error:
        return ended(error, error.code)
    except (WorkspaceError, KeyboardInterrupt):
        raise
    except Exception:  # whatever it was, the operator has to hear what is left of it
        traceback.print_exc()
        return ended("This is a fault in profilecast, or of the engine. What is in Kafka is good.", PERSON)


def on_signals(stop: Callable[[], None]) -> None:
    """Let SIGTERM and Ctrl-C stop softly."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop())
