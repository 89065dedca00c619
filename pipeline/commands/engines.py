"""The engine of a streaming job: whether what is asked of it makes a job that goes on."""

import argparse
from collections.abc import Sequence

from pipeline.commands.engine_options import LOCAL_RUNNER, can_be_made, mistyped

FLINK = ("PortableRunner", "FlinkRunner")
ENGINES = ("PrismRunner", *FLINK, "DataflowRunner")  # as they are written: options are chosen by these names
_EMBEDDED = ("", "[auto]", "[local]")  # masters of Flink
_TAKES = "PrismRunner on this machine, PortableRunner for Flink, DataflowRunner"


def wrong_engine(args: argparse.Namespace) -> str:
    """What is wrong with the engine, or an option of it; empty: nothing."""
    name = args.runner
    if name == LOCAL_RUNNER:
        return f"--streaming needs --runner, the engine: {_TAKES}"
    if name not in ENGINES:
        return f"--runner: {name!r} is no engine of a streaming job, which takes {_TAKES}"
    if not can_be_made(name):
        return f"--runner: {name} needs more of Beam: pip install 'profilecast[gcp]'"
    return _wrong_dry_run(args) or mistyped(args) or _wrong_flink(args) or _wrong_detach(args)


def _wrong_dry_run(args: argparse.Namespace) -> str:
    """Beam has this option, and every engine but Dataflow begins the job all the same."""
    given = [option.partition("=")[0] for option in args.beam_arguments]
    dry = next((option for option in given if option.replace("_", "-") == "--dry-run"), "")
    if dry and args.runner != "DataflowRunner":
        return f"{dry}: {args.runner} would begin the job all the same; only DataflowRunner can look at it first"
    return f"{dry}: there is no such option; did you mean --dry_run?" if dry == "--dry-run" else ""


def _wrong_flink(args: argparse.Namespace) -> str:
    if args.runner not in FLINK:
        return ""
    if not _value(args.beam_arguments, "--checkpointing_interval"):
        return (
            "--checkpointing_interval: Flink needs one, such as 10000 (milliseconds); without checkpoints a job "
            "that begins with a history or --bootstrap never reads an event, and one that fails begins anew"
        )
    if args.runner == "PortableRunner" and not _value(args.beam_arguments, "--job_endpoint"):
        return "--job_endpoint: PortableRunner needs HOST:PORT of the job server"
    return ""


def _value(arguments: Sequence[str], name: str) -> str:
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument(name, default="", dest="value")
    found: str = parser.parse_known_args(list(arguments))[0].value
    return found


def _wrong_detach(args: argparse.Namespace) -> str:
    if not args.detach:
        return ""
    inside = args.runner == "PrismRunner" or args.senders == "inside"
    loopback = _value(args.beam_arguments, "--environment_type").upper() == "LOOPBACK"
    embedded = args.runner == "FlinkRunner" and _value(args.beam_arguments, "--flink_master") in _EMBEDDED
    if inside or loopback or embedded:
        return "--detach ends this process, and an engine, senders or workers inside it would end too; leave it out"
    return ""
