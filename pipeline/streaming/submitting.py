"""`profilecast run --streaming`: publishes the workspace, and gives the graph to an engine."""

import logging
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions, SetupOptions, StandardOptions, TestOptions

from pipeline.commands.engine_options import FLINK, value_of
from pipeline.problems import EngineProblem
from pipeline.streaming import history, versions
from pipeline.streaming.clients import Part
from pipeline.streaming.graph import build
from pipeline.streaming.kafka import WAIT, Kafka, KafkaProblem, ends, partitions, write_all
from pipeline.streaming.moving_in import Origin, beginning
from pipeline.streaming.notes import note, read_notes
from pipeline.streaming.publishing import PARTITIONS, publish
from pipeline.streaming.source import COMMITTED, EARLIEST, MANY, are_gone, parts_of
from pipeline.streaming.topics import ensure, history_topic

_YEARS = 10 * 365 * 86_400  # seconds that a job may take: Beam gives one a minute, where nothing is said
_IGNORES = "flink_submit_uber_jar"  # with it, Beam does not tell Flink where the state is
_READS = ("job", "events")  # the note of which topics and subscriptions a job reads
_SOON, _TRY = 3.0, 0.5  # seconds of one try to reach it, and between two


@dataclass(frozen=True)
class StreamOptions:
    """What `profilecast run --streaming` was asked to do."""

    events: list[Kafka]
    log: Kafka
    text: str  # the workspace file
    path: str
    runner: str
    beam_arguments: list[str] = field(default_factory=list)
    start: str = COMMITTED  # of the events: earliest, latest, committed, or milliseconds since 1970
    bootstrap: bool = False  # take over what the state's topic has
    origin: Origin | None = None  # the state directory with which that begins
    accept_changes: bool = False
    masked: bool = False
    partitions: int | None = None  # of the topics of a new log
    subscriptions: list[str] = field(default_factory=list)  # of Pub/Sub, with events
    files: list[str] = field(default_factory=list)  # patterns of files with events


def submit(options: StreamOptions, say: Callable[..., None]) -> "beam.runners.runner.PipelineResult":
    """Submit the job. Raises WorkspaceError, KafkaProblem, EngineProblem, InputError and NeedsConsent: then nothing was
    submitted.

    With an origin also NoState, StoreError and Busy.
    """
    log = options.log
    _refuse_loss(options.runner, options.beam_arguments)
    files = history.look(options.files, options.beam_arguments, say)
    pipeline = make_streaming_pipeline(options.runner, options.beam_arguments)
    dry = bool(pipeline.options.view_as(TestOptions).dry_run)  # then the engine looks at the graph, and nothing is done
    job, before = f"{log.name}.job", _read_before(log)
    if not dry:
        _refuse_unread(options, before, bool(files))
        _refuse_left(log)
    _refuse_second(options)
    _refuse_gaps(options, before, bool(files))
    begins = _begins(options)
    parts = [
        part
        for events in options.events
        for part in parts_of(events, events.name, begins, job, was_read=events.name in (before or ()))
    ]
    _await_job_server(options, say)
    version = None if dry else _published(options, say)
    for kind in ("facts", "ticks"):
        parts += _own(options, kind, before, dry)
    past = _history(options, files, before, version, say) if version else []
    # Last: an older job may still go on, and what it reads from these places on is read once more.
    imports = [] if dry and options.origin else _state_parts(options)
    number = 0 if dry else versions.next_job(log, time.time())
    clients = clients_of(options.runner, options.beam_arguments)
    build(pipeline, log, [*imports, *parts], job, options.masked, options.subscriptions, past, clients, number)
    if not dry and not has_its_state(options.runner, options.beam_arguments):
        write_all(log.producer(), [note(log, *_READS, _events(options))])
    say("submitting", version=version.number if version else 0, partitions=len(parts), runner=options.runner)
    with _deaf_to_ctrl_c() if options.runner == "PrismRunner" else nullcontext():
        return pipeline.run()


@contextmanager
def _deaf_to_ctrl_c() -> Iterator[None]:
    """For Prism, which is started here, and inherits it.

    A terminal tells all of its processes of Ctrl-C. Prism would end before this process has cancelled the job.
    """
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def has_its_state(runner: str, arguments: list[str]) -> bool:
    """Whether the engine is told to go on with a job's state: each by an option of its own, which others ignore."""
    if runner == "DataflowRunner":
        return value_of(arguments, "--update", bare="true").lower() not in ("", "false")
    return runner in FLINK and value_of(arguments, "--savepoint_path") != ""


def clients_of(runner: str, arguments: list[str]) -> int:
    """How many clients read, at most: three for each worker, since engines spread them by chance.

    Prism has one worker. Where the options do not say how many there are, each partition has a client.
    """
    if runner == "PrismRunner":
        return 1
    found = value_of(arguments, "--parallelism")
    workers = int(found) if found.isdecimal() else 0
    return workers * 3 if workers > 1 else workers or MANY


def _begins(options: StreamOptions) -> str:
    """Where topics of events are begun. A job that has its state goes on where that was: what is gone is gone to it."""
    return COMMITTED if has_its_state(options.runner, options.beam_arguments) else options.start


def _names(arguments: list[str]) -> set[str]:
    """The options among these, without what they are set to."""
    return {each.removeprefix("--").partition("=")[0] for each in arguments if each.startswith("--")}


def _refuse_loss(runner: str, arguments: list[str]) -> None:
    """An option that is to give the job its state, and would not."""
    given = sorted(_names(arguments) & {"savepoint_path", "update"})
    if given and not has_its_state(runner, arguments):
        raise EngineProblem(
            f"with this --{given[0]} {runner} would begin without its state: it takes --savepoint_path=PLACE on Flink, "
            "and --update on Dataflow; elsewhere --bootstrap takes over what is in Kafka"
        )
    if {_IGNORES, "savepoint_path"} <= _names(arguments):
        raise EngineProblem(
            f"with --{_IGNORES} Flink would begin without its state, whatever --savepoint_path says; submit the job "
            "through a job server (--runner PortableRunner --job_endpoint HOST:PORT)"
        )


def _events(options: StreamOptions) -> list[str]:
    return sorted([*(events.name for events in options.events), *options.subscriptions])


def _read_before(log: Kafka) -> list[str] | None:
    """The topics and subscriptions that a job on this log read; None: none was submitted. Raises KafkaProblem."""
    kind, key = _READS
    return read_notes(log, kind).get(key)


def _refuse_unread(options: StreamOptions, before: list[str] | None, files: bool) -> None:
    """A job that goes on from its state reads what it read before: these topics, and the history where it did that."""
    if not has_its_state(options.runner, options.beam_arguments):
        return
    now = _events(options)
    if before is not None and before != now:
        raise KafkaProblem(
            f"the job that this one goes on from reads {', '.join(before)}, and so would this one, whatever --events "
            f"says ({', '.join(now)}); give what it reads, or begin with --bootstrap to read something else"
        )
    if files and not partitions(options.log, options.log.topic("history")):
        raise KafkaProblem(
            "the job that this one goes on from was begun by a version of profilecast that read no files, and would "
            "never read them; begin with --bootstrap, or write their events into a topic of events"
        )


def _published(options: StreamOptions, say: Callable[..., None]) -> versions.Version:
    """The version of this workspace, which is published now if it was not yet."""
    log, origin = options.log, options.origin
    # Whoever had a tick that the earlier job did not fold would be looked at by nobody.
    again = options.bootstrap and origin is None and are_gone(log, log.topic("ticks"), f"{log.name}.job")
    with beginning(log, origin) if origin else nullcontext() as begun:
        version = publish(
            log,
            options.text,
            options.path,
            options.accept_changes,
            say,
            options.partitions,
            beginning=begun,
            again=again,
        )
        if begun:
            say("moved", "the state directory is left as it was, and not gone on with", profiles=begun.profiles)
    return version


def _own(
    options: StreamOptions,
    kind: str,
    before: list[str] | None,
    dry: bool = False,
    gaps: bool = False,
    whole: bool = False,
) -> list[Part]:
    """Partitions of facts, ticks or history, from where the last job committed. In a dry run they may be missing.

    `before`: see `_read_before`; `gaps` and `whole`: see `parts_of`.
    """
    log, topic = options.log, options.log.topic(kind)
    if dry and not partitions(log, topic):
        return [Part(log, topic, number, 0) for number in range(options.partitions or PARTITIONS)]
    gaps = gaps or _begins(options) == EARLIEST  # then it is known that something is gone
    return parts_of(log, topic, COMMITTED, f"{log.name}.job", gaps, whole, was_read=before is not None)


def _history(
    options: StreamOptions,
    files: list[history.File],
    before: list[str] | None,
    version: versions.Version,
    say: Callable[..., None],
) -> list[Part]:
    """Write the events of files; the partitions that have them, with the end up to which they are read first."""
    log, topic, job = options.log, options.log.topic("history"), f"{options.log.name}.job"
    if not partitions(log, topic):
        if has_its_state(options.runner, options.beam_arguments):
            return []
        ensure(log, history_topic(log, partitions(log, log.topic("facts")) or options.partitions or PARTITIONS))
    if files:
        plan = version.plan(datetime.now(UTC))
        history.write(log, files, plan, version.number, say, again=are_gone(log, topic, job))
    return _own(options, "history", before, gaps=bool(files), whole=True)


def _refuse_left(log: Kafka) -> None:
    """A log whose state was moved elsewhere."""
    version = versions.newest(log)
    if version and version.left:
        raise KafkaProblem(version.left)


def _refuse_gaps(options: StreamOptions, before: list[str] | None, files: bool) -> None:
    """Records of the log's own topics that nobody read, and that are gone; files write their history once more."""
    for kind in ("facts", "ticks", "history"):
        if partitions(options.log, options.log.topic(kind)):
            _own(options, kind, before, gaps=files and kind == "history")


def _await_job_server(options: StreamOptions, say: Callable[..., None]) -> None:
    """Beam would wait for it without a word, after the workspace was published. Raises EngineProblem."""
    where = value_of(options.beam_arguments, "--job_endpoint")
    if not where:
        return
    host, _, port = where.rpartition(":")
    until, said = time.monotonic() + WAIT, False
    while True:
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=_SOON).close()
            return
        except (OSError, OverflowError, UnicodeError) as error:
            if time.monotonic() > until:
                raise EngineProblem(
                    f"--job_endpoint: {where} does not answer ({error}); start Beam's job server there, or correct it. "
                    "Nothing was done"
                ) from error
        if not said:
            say("waiting", f"the job server {where} does not answer; it is tried for {WAIT:.0f} s")
            said = True
        time.sleep(_TRY)


def _refuse_second(options: StreamOptions) -> None:
    """A job without a state, where an earlier one left it."""
    if options.bootstrap or has_its_state(options.runner, options.beam_arguments):
        return
    topic = options.log.topic("state")
    if _any(options.log, topic):
        raise KafkaProblem(
            f"{topic} has the state of an earlier job, and this job would begin without it: everybody would be told "
            "everything again. Resume the job from its savepoint, or add --bootstrap, which takes over what is there"
        )


def _state_parts(options: StreamOptions) -> list[Part]:
    """What a job without a state of its own has to read first, so that nobody is told everything again."""
    log, topic = options.log, options.log.topic("state")
    if not options.bootstrap:
        return []
    return parts_of(log, topic, EARLIEST, f"{log.name}.job", whole=True)


def _any(log: Kafka, topic: str) -> bool:
    with closing(log.consumer()) as consumer:
        found = (ends(consumer, topic, number) for number in range(partitions(log, topic)))
        return any(first < last for first, last in found)


def make_streaming_pipeline(runner: str, arguments: list[str]) -> beam.Pipeline:
    """An empty pipeline that goes on for ever.

    Prism 2.77 splits slow bundles of stateful steps too, and then folds two facts of one profile at the same time: one
    of them is lost. So it is told to split none.
    """
    ours = [f"--runner={runner}", "--streaming", f"--job_server_timeout={_YEARS}"]
    if runner == "PrismRunner":
        ours.append("--experiments=prism_disable_sdf_split")
    options = PipelineOptions([*ours, *arguments])
    options.view_as(StandardOptions).streaming = True
    options.view_as(SetupOptions).save_main_session = False
    logging.getLogger("apache_beam").setLevel(logging.ERROR)
    return beam.Pipeline(options=options)
