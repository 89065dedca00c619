"""What a run says: progress while it lasts, tables when it ends."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table

from pipeline.summary import ConnectionSummary, Summary
from schemas.report import Report
from transforms.sender import shared_sender

_PLAIN_EVERY = 10.0  # seconds between lines where there is no terminal
_LIVE_EVERY = 0.5


@contextmanager
def progress(console: Console) -> Iterator[None]:
    """Show the deliveries of this process until the block ends."""
    done = threading.Event()
    show = _live if console.is_terminal else _plain
    thread = threading.Thread(target=show, args=(console, done), daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _live(console: Console, done: threading.Event) -> None:
    columns = (TextColumn("{task.fields[name]:>24}"), BarColumn(), TextColumn("{task.fields[text]}"))
    with Progress(*columns, console=console, transient=True) as bars:
        tasks: dict[str, int] = {}
        while not done.wait(_LIVE_EVERY):
            for report in shared_sender().reports():
                if report.connection not in tasks:
                    tasks[report.connection] = bars.add_task("", total=report.calls, name=report.connection, text="")
                resolved = report.calls - report.pending
                bars.update(tasks[report.connection], completed=resolved, text=_state(report))  # type: ignore[arg-type]


def _plain(console: Console, done: threading.Event) -> None:
    while not done.wait(_PLAIN_EVERY):
        for report in shared_sender().reports():
            if report.pending and not report.stopped:
                console.print(f"  {report.connection}: {_state(report)}", highlight=False)


def _state(report: Report) -> str:
    rejected = f", {report.rejections:,} rejected" if report.rejections else ""
    speed = f"{report.rate:.1f} requests/s (cap {report.cap})"
    left = f", about {_time(report.seconds_left)} left" if report.seconds_left else ""
    return f"{report.delivered:,} of {report.calls:,} told, {report.pending:,} waiting{rejected}; {speed}{left}"


def _time(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


def print_summary(console: Console, summary: Summary) -> None:
    """The outcome tables of a run."""
    told = summary.input
    console.print(
        f"Read {told.get('read', 0):,} events: {told.get('applied', 0):,} told something new, "
        f"{told.get('unchanged', 0):,} did not, {told.get('dead_letters', 0):,} could not be used. "
        f"{summary.profiles:,} profiles are known.",
        highlight=False,
    )
    for name, number in told.items():
        if name.startswith("unknown_field "):
            console.print(f"  ignored the unknown field {name.split(' ', 1)[1]!r} {number:,} times", highlight=False)
    if summary.connections:
        console.print(_outcomes(summary))
    for name, each in summary.connections.items():
        for note in _notes(name, each):
            console.print(note, highlight=False, markup=False)
    for mistake in summary.mistakes:
        console.print(f"DOES NOT ADD UP: {mistake}", style="bold red", highlight=False, markup=False)
    if summary.dead_letters:
        console.print(f"Dead letters: {summary.folder}/dead_letters.jsonl", highlight=False, markup=False)
    console.print(f"Summary:      {summary.folder}/summary.json", highlight=False, markup=False, soft_wrap=True)


def _outcomes(summary: Summary) -> Table:
    table = Table(title=f"Calls of run {summary.run}", title_justify="left")
    table.add_column("connection", overflow="fold")
    for heading in ("calls", "delivered", "rejected", "pending", "requests", "cap", "seconds"):
        table.add_column(heading, justify="right", no_wrap=True)
    for name, each in summary.connections.items():
        numbers = (each.made, each.delivered, each.rejected, each.pending, each.report.requests)
        table.add_row(name, *(f"{n:,}" for n in numbers), each.report.cap, f"{each.report.seconds:.1f}")
    return table


def _notes(name: str, each: ConnectionSummary) -> Iterator[str]:
    report = each.report
    if report.stopped:
        yield f"{name} STOPPED: {report.stopped}. {each.pending:,} calls wait for the next run."
    elif each.pending:
        yield f"{name}: {each.pending:,} calls wait for the next run."
    if each.expired:
        yield f"{name}: {each.expired:,} expired: the vendor gave no answer for hours."
    if each.superseded:
        yield f"{name}: {each.superseded:,} calls of an earlier run were replaced by newer ones before they were sent."
    if each.held:
        yield f"{name}: {each.held:,} changes are held until its next flush, {each.held_until}."
    if report.unconfirmed:
        yield f"{name}: {report.unconfirmed:,} delivered calls are unconfirmed: the vendor answers with a count only."
    if each.no_identifier:
        yield f"{name}: {each.no_identifier:,} profiles have no identifier that it understands."
    for reason, number in sorted(report.rejected.items()):
        words = next((sample.words for sample in report.samples if sample.reason == reason), "")
        yield f"{name}: {number:,} rejected, {reason}{': ' + words if words else ''}"
