"""The options of a rehearsal, and one in words: `profilecast plan --rehearse`."""

import argparse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING

from pipeline.workspace import load

if TYPE_CHECKING:
    from pipeline.planning import Planned, Planning
    from pipeline.rehearsed import Rehearsed

_REHEARSAL = "sandbox.rehearsal"  # the sandbox knows the pipeline, so it is loaded by name, as `pipeline.cli` does it
_PEOPLE = 2_000  # of each connection


class WrongRehearsal(Exception):
    """What was given for a rehearsal makes none; the text says why."""


Rehearse = Callable[["Planning", "Planned"], None]


def add_rehearsal_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("a rehearsal on the sandbox").add_argument
    add(
        "--rehearse",
        type=_people,
        nargs="?",
        const=_PEOPLE,
        metavar="PEOPLE",
        help="send what a run would send to the sandbox, in virtual time, of so many people for each connection "
        f"({_PEOPLE:,}). Secrets that are not set are made up",
    )
    add(
        "--fault",
        action="append",
        default=[],
        metavar="FIELD=VALUE,…",
        help="with a fault of the sandbox, as in status=503,share=0.1 or destination=braze,refuse=0.05",
    )


def _people(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r}: expected how many people, 1 or more")
    return int(text)


@contextmanager
def rehearsing(args: argparse.Namespace) -> Iterator[Rehearse | None]:
    """While the block lasts there is a value for every secret of a connection. None: no rehearsal is wanted.

    Raises WorkspaceError and WrongRehearsal.
    """
    if not args.rehearse:
        if args.fault:
            raise WrongRehearsal("--fault is of a rehearsal: it goes with --rehearse")
        yield None
        return
    rehearsal = import_module(_REHEARSAL)
    try:
        faults = rehearsal.faults_of(args.fault)
    except ValueError as error:
        raise WrongRehearsal(f"--fault {error}") from error
    with rehearsal.made_up(load(args.workspace)) as names:
        yield partial(_rehearse, partial(rehearsal.rehearse, people=args.rehearse, faults=faults), names)


def _rehearse(
    rehearse: Callable[["Planning"], dict[str, "Rehearsed"]],
    made_up: list[str],
    planning: "Planning",
    planned: "Planned",
) -> None:
    from pipeline.rehearsed import show_rehearsed

    planned.rehearsed = rehearse(planning)
    show_rehearsed(planned.rehearsed, made_up)
