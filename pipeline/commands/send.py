"""`profilecast send`: the senders of a streaming job."""

import argparse
from contextlib import ExitStack
from typing import TYPE_CHECKING

from pipeline.commands.arguments import duration
from pipeline.commands.exits import DONE, USAGE, ended
from pipeline.commands.kafka import add_log_arguments, guarded, log_of, on_signals
from pipeline.commands.run import add_sending_arguments, sender_options
from pipeline.commands.say import json, mute_beam, text
from pipeline.commands.status_options import WrongStatus, add_status_arguments, status_pages

if TYPE_CHECKING:
    from pipeline.streaming.kafka import Kafka
    from pipeline.streaming.sending import Sending

EXIT_CODES = """\
Any number of these processes share the connections of a job; each vendor account has one sender at a time. They take \
over a new workspace by themselves, and need the variables of its secrets. Ctrl-C or SIGTERM ends it: requests in \
flight end.

exit codes:
  0  it was stopped
  1  wrong usage
  3  needs a person: Kafka cannot be used; calls or receipts that were not settled are gone when it starts; the log \
belongs to another gateway; or the state was moved out of the log"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = "Sends what a streaming job decides, beside it, under each vendor's cap."
    add_log_arguments(parser)
    add_sending_arguments(parser)
    add = parser.add_argument_group("the service").add_argument
    add_status_arguments(add)
    add("--retry-stopped", type=duration, default=300.0, metavar="TIME", help="try what stopped again after this (5m)")
    add("--log-lines", choices=("text", "json"), default="text", help="the form of its log lines (%(default)s)")
    add(
        "--past-gaps",
        action="store_true",
        help="go on where calls or receipts that were not settled are gone from Kafka",
    )
    parser.epilog = EXIT_CODES


def run(args: argparse.Namespace) -> int:
    """Send until stopped. Raises WorkspaceError."""
    mute_beam()
    return guarded(lambda: _send(args))


def _send(args: argparse.Namespace) -> int:
    from pipeline.status_page import page_routes
    from pipeline.status_server import status_routes

    sending = sending_of(args, log_of(args))
    with ExitStack() as stack:
        try:
            routes = status_routes(sending.status, sending.well) | page_routes("send", sending.acts())
            sending.page = stack.enter_context(status_pages(args, routes))
        except WrongStatus as error:
            return ended(error, USAGE)
        on_signals(sending.stop)
        sending.loop()
    return DONE


def sending_of(args: argparse.Namespace, log: "Kafka") -> "Sending":
    from pipeline.streaming.sending import Sending, SendOptions

    say = json if getattr(args, "log_lines", "text") == "json" else text
    return Sending(SendOptions(log, sender_options(args), getattr(args, "past_gaps", False)), say)
