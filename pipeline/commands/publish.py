"""`profilecast publish`: another workspace for a running job."""

import argparse

from pipeline.commands.check import DEFAULT_FILE
from pipeline.commands.exits import AGAIN, DONE, USAGE, ended
from pipeline.commands.kafka import add_log_arguments, add_partitions_argument, guarded, log_of, options_of
from pipeline.commands.refresh import UnknownSync, add_refresh_argument, refreshed
from pipeline.commands.say import mute_beam, text
from pipeline.source_reader import without_sources
from pipeline.workspace import load, text_of

EXIT_CODES = """\
exit codes:
  0  it is published; the job and its senders take it over
  1  wrong usage or configuration; nothing is published
  3  needs a person: Kafka cannot be used, or a change needs --accept-changes; then publish again
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
    add_partitions_argument(parser.add_argument)
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
    version = publish(log, written, args.workspace, args.accept_changes, text, args.partitions, refresh=refresh)
    if number_of_job(log):
        text("version", f"the job and its senders decide with version {version.number}")
    else:
        text("version", f"no job has begun on {log.name} yet; the first one decides with version {version.number}")
    return DONE
