"""The engine of a streaming job: whether what is asked of it makes a job that goes on."""

import argparse
import re

from pipeline.commands.engine_options import FLINK, LOCAL_RUNNER, can_be_made, dry_run, mistyped, value_of

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
    dry = dry_run(args.beam_arguments)
    if dry and args.runner != "DataflowRunner":
        return f"{dry}: {args.runner} would begin the job all the same; only DataflowRunner can look at it first"
    return f"{dry}: there is no such option; did you mean --dry_run?" if dry == "--dry-run" else ""


def _wrong_flink(args: argparse.Namespace) -> str:
    if args.runner not in FLINK:
        return ""
    interval, server = (value_of(args.beam_arguments, name) for name in ("--checkpointing_interval", "--job_endpoint"))
    if not re.fullmatch(r"0*[1-9]\d*", interval):
        return (
            "--checkpointing_interval: Flink needs one, such as 10000 (milliseconds); without checkpoints a job "
            "that begins with a history or --bootstrap never reads an event, and one that fails begins anew"
        )
    if (server or args.runner == "PortableRunner") and not re.fullmatch(r".+:\d{1,5}", server):
        return f"--job_endpoint: expected HOST:PORT of the job server, such as localhost:8099, and not {server!r}"
    return ""


def _wrong_detach(args: argparse.Namespace) -> str:
    if args.detach and (args.senders == "inside" or _is_inside(args)):
        return "--detach ends this process, and an engine, senders or workers inside it would end too; leave it out"
    return ""


def _is_inside(args: argparse.Namespace) -> bool:
    """Whether the engine, its job server or its workers end with this process."""
    if args.runner == "PrismRunner" or value_of(args.beam_arguments, "--environment_type").upper() == "LOOPBACK":
        return True
    # FlinkRunner starts a job server, unless it is given one, or gives Flink a jar.
    master, server = (value_of(args.beam_arguments, name) for name in ("--flink_master", "--job_endpoint"))
    jar = "--flink_submit_uber_jar" in args.beam_arguments and master not in _EMBEDDED
    return args.runner == "FlinkRunner" and not jar and not server
