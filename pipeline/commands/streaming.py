"""`profilecast run --streaming`: a job over Kafka, on an engine."""

import argparse
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.commands.arguments import time
from pipeline.commands.engines import wrong_engine
from pipeline.commands.exits import DONE, PERSON, USAGE, ended
from pipeline.commands.kafka import (
    add_log_arguments,
    add_partitions_argument,
    guarded,
    log_of,
    on_signals,
    options_of,
)
from pipeline.commands.say import text
from pipeline.problems import WorkspaceError
from pipeline.source_reader import without_sources
from pipeline.workspace import load, text_of

if TYPE_CHECKING:
    from pipeline.streaming.kafka import Kafka

_OVER = ("CANCELLED", "DRAINED", "UPDATED")  # states in which somebody has ended the job, or replaced it
TOPICS = ("kafka://", "pubsub://")
CHANGELOG = "changelog"  # what --bootstrap takes over where nothing else is said
TOKENS = (
    "refresh tokens that vendors gave are secrets, and in no topic: copy the files of `tokens` in the state directory "
    "to $XDG_STATE_HOME/profilecast/tokens of every sender"
)


# Options of `run` that count only with --streaming.
STREAMING = ("log", "kafka_options", "start", "bootstrap", "partitions", "senders", "detach")


def add_streaming_arguments(parser: argparse.ArgumentParser) -> None:
    """What `run` takes besides, with --streaming."""
    add = parser.add_argument_group("streaming (docs/streaming.md)").add_argument
    add("--streaming", action="store_true", help="run as a streaming job over Kafka, on the engine that --runner names")
    add_log_arguments(parser, required=False)
    add(
        "--start",
        type=start,
        default="committed",
        metavar="WHERE",
        help="where a topic of events is begun: earliest, latest, committed (where an earlier job was; else earliest), "
        "or a time (%(default)s)",
    )
    add(
        "--bootstrap",
        nargs="?",
        const=CHANGELOG,
        metavar="DIR",
        help="take over what an earlier job on the same --log knew of everybody; or, with a new --log, what a state "
        "directory knows",
    )
    add_partitions_argument(add)
    add(
        "--senders",
        choices=("beside", "inside"),
        default="beside",
        help="who sends: processes of `profilecast send`, or this one (%(default)s)",
    )
    add(
        "--detach",
        action="store_true",
        help="end when the engine has taken the job, which goes on without this process; for an engine and workers "
        "that are elsewhere",
    )


def moves_in(args: argparse.Namespace) -> bool:
    """Whether the job begins with a state directory."""
    return args.bootstrap not in (None, CHANGELOG)


def start(text: str) -> str:
    """earliest, latest, committed, or a time in milliseconds since 1970."""
    return text if text in ("earliest", "latest", "committed") else str(int(time(text).timestamp() * 1_000))


def run_streaming(args: argparse.Namespace) -> int:
    """Submit a streaming job, and watch it until it ends or is stopped."""
    if not args.log:
        return ended("--streaming needs --log kafka://HOST:PORT/PREFIX, where the job keeps its topics", USAGE)
    if fault := wrong_engine(args):
        return ended(fault, USAGE)
    if not any(each.startswith(TOPICS) for each in args.events):
        return ended("--streaming reads events for ever: it needs a topic, --events kafka://HOST:PORT/TOPIC", USAGE)
    return guarded(lambda: _stream(args))


def _stream(args: argparse.Namespace) -> int:
    from pipeline.streaming.kafka import SCHEME as KAFKA
    from pipeline.streaming.kafka import address
    from pipeline.streaming.moving_in import Origin, tokens_of
    from pipeline.streaming.pubsub import SCHEME, subscription
    from pipeline.streaming.submitting import StreamOptions, submit

    options = options_of(args)
    # Mistakes are told with lines, before anything is done.
    workspace = without_sources(load(args.workspace), args.workspace, "a streaming job")
    log, moves = log_of(args, options), moves_in(args)
    stream = StreamOptions(
        events=[address(each, options) for each in args.events if each.startswith(KAFKA)],
        files=[each for each in args.events if not each.startswith((KAFKA, SCHEME))],
        subscriptions=[subscription(each, args.runner) for each in args.events if each.startswith(SCHEME)],
        log=log,
        text=text_of(args.workspace),
        path=args.workspace,
        runner=args.runner,
        beam_arguments=args.beam_arguments,
        start=args.start,
        bootstrap=bool(args.bootstrap),
        origin=Origin(Path(args.bootstrap), workspace, args.gateway or "") if moves else None,
        accept_changes=args.accept_changes,
        masked=args.mask_dead_letters,
        partitions=args.partitions,
    )
    result = submit(stream, text)
    if moves and tokens_of(Path(args.bootstrap)):
        text("tokens", TOKENS)
    if args.detach:
        text("submitted", "the job goes on by itself; it is stopped at its engine")
        return DONE
    stopping = threading.Event()
    on_signals(stopping.set)
    end_sending = _send_inside(args, log, stopping) if args.senders == "inside" else lambda: DONE
    try:
        code = _watch(result, stopping)
    finally:
        sent = end_sending()
    return code or sent


def _watch(result: Any, stopping: threading.Event) -> int:
    """Until the job ends (then something is wrong with it), or it is to stop."""
    over = threading.Event()
    failed: list[BaseException] = []

    def wait() -> None:
        try:
            result.wait_until_finish()
        except BaseException as error:  # engines raise what they like, and whoever watches has to hear of it
            failed.append(error)
        over.set()

    threading.Thread(target=wait, name="job", daemon=True).start()
    while not stopping.wait(0.5):
        if over.is_set():
            return _ended(result, failed[0] if failed else None)
    text("stopping", "the job is cancelled; what it read since its last checkpoint is read again by the next one")
    try:
        result.cancel()
    except Exception as error:  # of whatever engine it is
        return ended(f"The job could not be cancelled: {error}", PERSON)
    return DONE


def _ended(result: Any, failed: BaseException | None) -> int:
    """The job is not watched any more: say why."""
    try:
        state = str(result.state)
    except Exception:  # the engine, or its job server, is gone
        return ended(f"The engine does not answer any more: {failed}. See there whether the job goes on", PERSON)
    if failed and state not in _OVER:
        return ended(f"The job failed: {failed}", PERSON)
    text("ended", f"the job has ended: {state}")
    return DONE


def _send_inside(args: argparse.Namespace, log: "Kafka", stopping: threading.Event) -> Callable[[], int]:
    """Send from a thread of this process; what ends it, and gives its exit code. If it cannot send, all is to stop."""
    from pipeline.commands.send import sending_of

    sending, codes = sending_of(args, log), [PERSON]

    def loop() -> int:
        sending.loop()
        return DONE

    def send() -> None:
        try:
            codes.append(guarded(loop))
        except WorkspaceError as error:
            codes.append(ended(error, USAGE))
        finally:
            stopping.set()

    thread = threading.Thread(target=send, name="senders")
    thread.start()

    def end() -> int:
        sending.stop()
        thread.join()
        return codes[-1]

    return end
