"""Options that a command does not know: what goes to Beam, and what is a mistake."""

import argparse
from collections.abc import Sequence
from difflib import get_close_matches

LOCAL_RUNNER = "FnApiRunner"
FLINK = ("PortableRunner", "FlinkRunner")  # the runners that give a job to Flink
_HERE = f"{LOCAL_RUNNER}, PrismRunner, FlinkRunner, PortableRunner"
_ELSEWHERE = ("DataflowRunner", "TestDataflowRunner", "SparkRunner", "SamzaRunner")
_NEAR, _ALIKE = 0.8, 0.9  # how much a mistyped option is like one of ours, and like one of an engine
# Options that Beam's job server for Flink adds to those that the SDK knows: those that are in use.
FLINKS = (
    "--checkpointing_interval", "--max_bundle_size", "--max_bundle_time_mills", "--savepoint_path",
    "--externalized_checkpoints_enabled", "--retain_externalized_checkpoints_on_cancellation",
)  # fmt: skip
_STRAY = "this word belongs to no option"
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
    dry = dry_run(args.beam_arguments)
    if dry and _DRY not in _ours(args):
        return f"{dry}: there is no such option; `profilecast plan` says what a run would do"
    return mistyped(args)


def mistyped(args: argparse.Namespace) -> str:
    """The first option that neither we nor Beam know, in words; empty: there is none.

    Of an engine, only one that looks like one that is known: it may have others.
    """
    ours = _ours(args)
    for option in _options(args.beam_arguments):
        if option.replace("_", "-") in ours:
            return _told(option, _near(option, ours))
    beam = _parser_of_beam()
    try:
        unknown = beam.parse_known_args(list(args.beam_arguments))[1]
    except argparse.ArgumentError as error:
        return f"{error.argument_name}: {error.message}"
    if args.runner == LOCAL_RUNNER:
        return _first(unknown[0].split("=")[0], ours) if unknown else ""
    engines = [*FLINKS, *beam._option_string_actions]
    for option in _options(unknown):
        near = _near(option, ours) or _near(option, engines, _ALIKE)
        if near not in ("", option):
            return _told(option, near)
    return next((f"{word}: {_STRAY}" for word in _stray(unknown)), "")


def value_of(arguments: Sequence[str], name: str, bare: str = "") -> str:
    """What an option of the engine is set to; `bare`: where it stands alone; empty: it is not given."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument(name, nargs="?", default="", const=bare, dest="value")
    found: str = parser.parse_known_args(list(arguments))[0].value
    return found


def dry_run(arguments: Sequence[str]) -> str:
    """The option of this meaning, as it is written; empty: it is not given."""
    return next((option for option in _options(arguments) if option.replace("_", "-") == _DRY), "")


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


def _parser_of_beam() -> argparse.ArgumentParser:
    """The one that has every option."""
    from apache_beam.options.pipeline_options import PipelineOptions

    parsers: list[argparse.ArgumentParser] = []
    PipelineOptions([]).get_all_options(add_extra_args_fn=parsers.append)
    parsers[0].exit_on_error = False
    return parsers[0]


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


def _first(word: str, ours: Sequence[str]) -> str:
    return _told(word, _near(word, ours)) if word.startswith("-") else f"{word}: {_STRAY}"


def _told(option: str, near: str) -> str:
    return f"{option}: there is no such option" + (f"; did you mean {near}?" if near else "")


def _near(option: str, known: Sequence[str], alike: float = _NEAR) -> str:
    """The known option that is most like this one; empty: none is."""
    spelled = {each.casefold().replace("_", "-"): each for each in known}
    found = get_close_matches(option.casefold().replace("_", "-"), spelled, n=1, cutoff=alike)
    return spelled[found[0]] if found else ""
