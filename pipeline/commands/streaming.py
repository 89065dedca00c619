"""`profilecast run --streaming`, `profilecast publish`: a job over Kafka, and the workspace that it decides with."""

import argparse
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.commands.arguments import positive, time
from pipeline.commands.check import DEFAULT_FILE
from pipeline.commands.engines import wrong_engine
from pipeline.commands.exits import AGAIN, DONE, PERSON, USAGE, ended
from pipeline.commands.refresh import UnknownSync, add_refresh_argument, refreshed
from pipeline.commands.say import mute_beam, text
from pipeline.problems import EngineProblem, WorkspaceError
from pipeline.source_reader import without_sources
from pipeline.workspace import load, text_of

if TYPE_CHECKING:
    from pipeline.streaming.kafka import Kafka

_SOON = 3.0  # seconds for the first answer of a broker, until it is said that there is none
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
    add(
        "--partitions",
        type=positive,
        default=8,
        metavar="N",
        help="of the topics of a new job, for as many workers as it will ever have (%(default)s); those of a job that "
        "is there stay as they are",
    )
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


def start(text: str) -> str:
    """earliest, latest, committed, or a time in milliseconds since 1970."""
    return text if text in ("earliest", "latest", "committed") else str(int(time(text).timestamp() * 1_000))


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
        return ended("Kafka needs another package: pip install 'profilecast[kafka]'", USAGE)
    from pipeline.disk import StoreError
    from pipeline.files import InputError, WrongPattern
    from pipeline.leases import Busy
    from pipeline.run import NeedsConsent
    from pipeline.state_db import NoState
    from pipeline.streaming.kafka import KafkaProblem, WrongAddress

    try:
        return what()
    except (WrongAddress, WrongPattern, NoState) as error:
        return ended(error, USAGE)
    except Busy as error:
        return ended(error, AGAIN)
    except (KafkaProblem, EngineProblem, InputError, NeedsConsent, StoreError) as error:
        return ended(error, PERSON)
    except (WorkspaceError, KeyboardInterrupt):
        raise
    except Exception:  # whatever it was, the operator has to hear what is left of it
        traceback.print_exc()
        return ended("This is a fault in profilecast, or of the engine. What is in Kafka is good.", PERSON)


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


def on_signals(stop: Callable[[], None]) -> None:
    """Let SIGTERM and Ctrl-C stop softly."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop())


# -- publish
EXIT_CODES = """\
exit codes:
  0  it is published; the job and its senders take it over
  1  wrong usage or configuration; nothing is published
  3  needs a person: Kafka cannot be used, or a change needs --accept-changes
  4  it was stopped: publish again"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Of `publish`."""
    parser.description = (
        "Gives a running job a new workspace, without submitting it again. Everybody who is known is looked at with it."
    )
    parser.add_argument("--workspace", default=DEFAULT_FILE, metavar="FILE", help="the workspace file (%(default)s)")
    parser.add_argument(
        "--accept-changes", action="store_true", help="go on although many people would be told something by it"
    )
    add_refresh_argument(parser.add_argument)
    add_log_arguments(parser)
    parser.epilog = EXIT_CODES


def run(args: argparse.Namespace) -> int:
    """`publish`. Raises WorkspaceError."""
    mute_beam()
    try:
        return guarded(lambda: _publish(args))
    except KeyboardInterrupt:
        return ended("Stopped. If the version is published, not everybody was looked at with it: publish again.", AGAIN)


def _publish(args: argparse.Namespace) -> int:
    from pipeline.streaming.publishing import publish
    from pipeline.streaming.versions import number_of_job

    options = options_of(args)
    workspace = without_sources(load(args.workspace), args.workspace, "a streaming job")
    try:
        refresh = refreshed(args, workspace)
    except UnknownSync as error:
        return ended(error, USAGE)
    log, written = log_of(args, options), text_of(args.workspace)
    version = publish(log, written, args.workspace, args.accept_changes, text, refresh=refresh)
    if number_of_job(log):
        text("version", f"the job and its senders decide with version {version.number}")
    else:
        text("version", f"no job has begun on {log.name} yet; the first one decides with version {version.number}")
    return DONE
