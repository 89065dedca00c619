"""The command line: `profilecast COMMAND …`. A command's module is loaded when it is called."""

import argparse
import signal
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import NoReturn

from pipeline.commands.exits import stopped_early
from pipeline.commands.output import Help, surviving
from pipeline.problems import WorkspaceError

# Each module has `add_arguments(parser)` and `run(args) -> exit code`.
COMMANDS = {
    "init": ("pipeline.commands.init", "write a first workspace file"),
    "check": ("pipeline.commands.check", "say what a workspace file means, or what is wrong in it"),
    "plan": ("pipeline.commands.plan", "say what a run would do, without consequences"),
    "run": ("pipeline.commands.run", "read events once, and send what changed to every connection"),
    "serve": ("pipeline.commands.serve", "run all the time: read events as they come, and send what changed"),
    "publish": ("pipeline.commands.publish", "give a running streaming job another workspace"),
    "send": ("pipeline.commands.send", "send what a streaming job decides"),
    "why": ("pipeline.commands.why", "say what each connection was told of one person, and why not the rest"),
    "report": ("pipeline.commands.report", "write a page of how it stands, and what runs did"),
    "export": (
        "pipeline.commands.export",
        "write receipts, waiting calls or the ledger as a table, or a job's state",
    ),
    "replay": ("pipeline.commands.replay", "try again what was rejected, expired or unusable"),
    "destinations": ("pipeline.commands.destinations", "list the destinations, or describe one"),
    "sandbox": ("sandbox.command", "start a local server that stands in for the vendors"),
}
DELIVERING = ("run", "replay")
EXIT_CODES = """\
exit codes:
  0  done
  1  wrong usage or configuration; nothing was read
  2  done, but with more rejected calls or unusable records than allowed
  3  needs a person
  4  not done yet: run again

`profilecast COMMAND --help` describes a command."""


class Parser(argparse.ArgumentParser):
    """argparse, but wrong usage exits with 1: 2 has its own meaning here."""

    def error(self, message: str) -> NoReturn:
        self.exit(1, f"{self.prog}: {message}\n{self.format_usage()}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; its exit code. Whoever calls it with arguments has its own signal handlers again afterwards.

    SIGTERM is heard as Ctrl-C where `pipeline.__main__` began.
    """
    if arguments is None:
        return _main(sys.argv[1:])
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        return _main(list(arguments))
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _main(given: Sequence[str]) -> int:
    try:
        with surviving(_unheard):
            args = _parsed(given)
        delivers = args.command in DELIVERING and not vars(args).get("dry_run")
        with surviving(_unheard_service if args.command == "serve" else _unheard_run if delivers else _unheard):
            code: int = import_module(COMMANDS[args.command][0]).run(args)
            return code
    except WorkspaceError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:  # a run that has begun hears of it elsewhere
        return stopped_early(given)


def _unheard_run(error: OSError) -> None:
    goes_on = "The run goes on; its summary.json will say what it did."
    print(f"Standard output cannot be written: {error.strerror}. {goes_on}", file=sys.stderr)


def _unheard_service(error: OSError) -> None:
    print(f"Standard output cannot be written: {error.strerror}. The service goes on; ask /status.", file=sys.stderr)


def _unheard(error: OSError) -> None:
    if isinstance(error, BrokenPipeError):  # `profilecast destinations | head`
        raise SystemExit(0)
    print(f"Standard output cannot be written: {error.strerror}.", file=sys.stderr)
    raise SystemExit(3)


def _parsed(given: Sequence[str]) -> argparse.Namespace:
    parser = _parser(given)
    args, others = parser.parse_known_args(given or ["--help"])
    if others and args.command not in DELIVERING:
        args.refuse(f"unrecognized arguments: {' '.join(others)}")
    args.beam_arguments = others
    return args


def _parser(given: Sequence[str]) -> Parser:
    """All commands by name, the arguments only of the one that is called: `run` alone needs Beam."""
    parser = Parser(
        prog="profilecast",
        usage="profilecast COMMAND [OPTIONS]",
        description="Keeps marketing tools in step with what is known about customers.",
        epilog=EXIT_CODES,
        formatter_class=Help,
        allow_abbrev=False,  # Beam's own options are passed on whole
    )
    parser.add_argument("--version", action="version", version=f"profilecast {_version()}")
    commands = parser.add_subparsers(
        dest="command", metavar="COMMAND [OPTIONS]", required=True, title="commands", prog="profilecast"
    )
    called = next((word for word in given if not word.startswith("-")), "")
    for name, (module, about) in COMMANDS.items():
        command = commands.add_parser(
            name,
            help=about,
            description=f"{about[0].upper()}{about[1:]}.",
            formatter_class=Help,
            allow_abbrev=False,
        )
        command.set_defaults(refuse=command.error, default_of=command.get_default)  # with its own usage
        if name == called:
            import_module(module).add_arguments(command)
    return parser


def _version() -> str:
    try:
        return version("profilecast")
    except PackageNotFoundError:
        return "(not installed)"
