"""Options that a command does not know: what goes to Beam, and what is a mistake."""

import argparse
from collections.abc import Sequence
from difflib import get_close_matches

LOCAL_RUNNER = "FnApiRunner"
_HERE = f"{LOCAL_RUNNER}, PrismRunner, FlinkRunner, PortableRunner"
_ELSEWHERE = ("DataflowRunner", "TestDataflowRunner", "SparkRunner", "SamzaRunner")
_DRY = "--dry-run"  # Beam has an option of this name, written --dry_run, and a run would send all the same


def wrong_option(args: argparse.Namespace) -> str:
    """What is wrong with the first option of a run that nobody knows; empty where Beam can have them all.

    Beam leaves out in silence what it does not know, and the run would go on without it. An engine
    of another kind may have options that Beam does not know, but none that looks like one of ours.
    """
    if wrong := _wrong_runner(args.runner):
        return wrong
    if not args.beam_arguments:
        return ""
    dry = next((option for option in _options(args.beam_arguments) if option.replace("_", "-") == _DRY), "")
    if dry and _DRY not in _ours(args):
        return f"{dry}: there is no such option; `profilecast plan` says what a run would do"
    return mistyped(args)


def mistyped(args: argparse.Namespace) -> str:
    """The first option that neither we nor Beam know, in words; empty: there is none."""
    ours = _ours(args)
    for option in _options(args.beam_arguments):
        if option.replace("_", "-") in ours:
            return _told(option, ours)
    try:
        unknown = _unknown_to_beam(args.beam_arguments)
    except argparse.ArgumentError as error:
        return f"{error.argument_name}: {error.message}"
    if args.runner == LOCAL_RUNNER:
        return _told(unknown[0].split("=")[0], ours) if unknown else ""
    near = next((_told(option, ours) for option in _options(unknown) if _near(option, ours)), "")
    return near or next((_told(word, ours) for word in _stray(unknown)), "")


def _ours(args: argparse.Namespace) -> list[str]:
    """The options of the command."""
    return [f"--{name.replace('_', '-')}" for name in vars(args) if name not in ("command", "beam_arguments")]


def _wrong_runner(name: str) -> str:
    if name in _ELSEWHERE:
        return (
            f"--runner: {name} runs a job on machines that do not have the state directory; "
            f"`run` keeps its state on this one. Leave --runner out, or take one that works here: {_HERE}"
        )
    if name == LOCAL_RUNNER or can_be_made(name):
        return ""
    return f"--runner: {name!r} is no runner of Beam; such are {_HERE}"


def can_be_made(name: str) -> bool:
    """Whether Beam has such a runner, with all that it needs."""
    from apache_beam.runners.runner import create_runner

    try:
        create_runner(name)
    except (ValueError, ImportError, AttributeError):
        return False
    return True


def _unknown_to_beam(arguments: Sequence[str]) -> list[str]:
    from apache_beam.options.pipeline_options import PipelineOptions

    parsers: list[argparse.ArgumentParser] = []
    PipelineOptions([]).get_all_options(add_extra_args_fn=parsers.append)  # the parser that has every option
    parsers[0].exit_on_error = False
    return parsers[0].parse_known_args(list(arguments))[1]


def _options(arguments: Sequence[str]) -> list[str]:
    return [argument.split("=")[0] for argument in arguments if argument.startswith("-")]


def _stray(unknown: Sequence[str]) -> list[str]:
    """Words that are no value of an option before them."""
    before = ["", *unknown]
    return [
        word
        for last, word in zip(before, unknown, strict=False)
        if not word.startswith("-") and (not last.startswith("-") or "=" in last)
    ]


def _told(option: str, ours: Sequence[str]) -> str:
    if not option.startswith("-"):
        return f"{option}: this word belongs to no option"
    near = _near(option, ours)
    return f"{option}: there is no such option" + (f"; did you mean {near}?" if near else "")


def _near(option: str, ours: Sequence[str]) -> str:
    return next(iter(get_close_matches(option.casefold().replace("_", "-"), ours, n=1, cutoff=0.8)), "")
