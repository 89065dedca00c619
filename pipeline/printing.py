"""What a run says: progress while it lasts, tables when it ends."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import partial

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from pipeline.commands.output import about, at_least, counted, noted
from pipeline.delivering import reports
from pipeline.run import Run
from pipeline.summary import ConnectionSummary, Summary
from schemas.report import Report
from schemas.workspace import Connection
from transforms.destinations.contract import Destination
from transforms.logic.caps import effective_limits, per
from transforms.logic.estimate import ahead, slowest
from transforms.logic.registry import made_again

_PLAIN_EVERY = 10.0  # seconds between lines where there is no terminal
_LIVE_PER_SECOND = 2


@contextmanager
def progress(console: Console) -> Iterator[None]:
    """Show the deliveries of this process until the block ends."""
    if console.is_terminal:
        with Live(get_renderable=_live, console=console, refresh_per_second=_LIVE_PER_SECOND, transient=True):
            yield
        return
    done = threading.Event()
    thread = threading.Thread(target=_plain, args=(console, done), daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _live() -> RenderableType:
    found = list(reports())
    return Group(deliveries(found), *_pace_notes(found)) if found else ""


def _pace_notes(reports: Sequence[Report]) -> Iterator[Text]:
    for report in reports:
        if report.pace_note and report.pending and not report.stopped:
            yield Text(f"{report.connection}: {report.pace_note}")


def deliveries(reports: Sequence[Report]) -> Table:
    """How far each connection is. Long names wrap, so that every number is seen."""
    rejections = any(report.rejections for report in reports)
    table = Table(box=None, pad_edge=False)
    table.add_column("connection", overflow="fold")
    for head in ("delivered", "waiting", *(["rejected"] if rejections else []), "time left", "requests/s", "cap"):
        table.add_column(head, justify="right", no_wrap=True)
    for report in reports:
        numbers = (report.delivered, report.pending, *([report.rejections] if rejections else []))
        table.add_row(Text(report.connection), *(f"{n:,}" for n in numbers), _ahead(report), _rate(report), report.cap)
    return table


def _ahead(report: Report) -> str:
    if report.stopped:
        return "stopped"
    if not report.pending:
        return "done"
    return about(report.seconds_left) if report.seconds_left else ""


def _plain(console: Console, done: threading.Event) -> None:
    while not done.wait(_PLAIN_EVERY):
        for report in reports():
            if report.pending and not report.stopped:
                console.print(
                    f"  {datetime.now():%H:%M:%S} {_line(report)}", highlight=False, markup=False, soft_wrap=True
                )


def _line(report: Report) -> str:
    rejected = f", {report.rejections:,} rejected" if report.rejections else ""
    left = f", about {about(report.seconds_left)} left" if report.seconds_left else ""
    jobs = f" for {counted(report.jobs, 'job')} of the vendor" if report.jobs else ""
    so_far = f"{report.delivered:,} delivered, {report.pending:,} waiting{jobs}{rejected}{left}"
    why = f"; {report.pace_note}" if report.pace_note else ""
    return f"{report.connection}: {so_far}; {_rate(report)} requests/s (cap {report.cap}){why}"


def _rate(report: Report) -> str:
    return f"{report.rate:.1f}" if report.rate < 100 else f"{report.rate:,.0f}"


def announce(console: Console, run: Run) -> None:
    """Ahead of sending: how many calls go to whom, and about how long it takes."""
    for note in run.notes:
        console.print(note, highlight=False, markup=False, soft_wrap=True)
    connections = {connection.name: connection for connection in run.workspace.connections}
    for name, waiting in run.waiting().items():
        if waiting and name in run.made.destinations:
            later = min(run.until_flush(name), waiting)
            ahead = (
                _ahead_of(run.made.destinations[name], connections[name], waiting - later) if waiting > later else ""
            )
            scheduled = f"{counted(later, 'call')} scheduled for the next flush" if later else ""
            told = "; ".join(filter(None, (ahead, scheduled)))
            console.print(f"  {name}: {told}", highlight=False, markup=False)


def _ahead_of(destination: Destination, connection: Connection, waiting: int) -> str:
    limits, batch = effective_limits(type(destination).limits, connection), destination.batch
    items = batch.items
    requests, seconds = ahead(waiting, items / batch.asked(items), limits)
    told = f"{counted(waiting, 'call')} to send"
    if items > 1:
        told += f" in about {counted(requests, 'request')}"
    if not (cap := slowest(limits)):
        return told
    return f"{told}, {at_least(seconds)} at its cap of {per(cap.requests, cap.seconds)}"


def print_summary(console: Console, summary: Summary) -> None:
    """The outcome of a run, and first of all what somebody has to look at."""
    say = partial(console.print, highlight=False, markup=False, soft_wrap=True)
    for line in _input(summary):
        say(line)
    if any(each.made or each.before > each.scheduled for each in summary.connections.values()):
        console.print(_outcomes(summary), crop=False)
    for name, each in summary.connections.items():
        for note in _notes(name, each):
            say(f"{name}: {note}")
    for words in summary.small_lists:
        say(f"{words}.")
    if summary.dead_letters:
        say(f"Dead letters: {summary.folder}/dead_letters.jsonl")
    say(f"Summary: {summary.folder}/summary.json")
    for mistake in summary.mistakes:
        say(f"DOES NOT ADD UP: {mistake}", style="bold red")
    say(_verdict(summary), style="bold")


def _input(summary: Summary) -> Iterator[str]:
    counts = summary.input
    if counts.get("read"):
        yield (
            f"Read {counted(counts['read'], 'event')}: {counts.get('applied', 0):,} said something new, "
            f"{counts.get('unchanged', 0):,} did not, {counts.get('dead_letters', 0):,} could not be used. "
            f"{counted(summary.profiles, 'profile')} known."
        )
    for line in summary.unusable:
        yield f"  {line}"
    if counts.get("retried"):
        yield f"{counted(counts['retried'], 'failed call')} may be tried again."
    if counts.get("dropped"):
        yield (
            f"{counted(counts['dropped'], 'occurrence')} dropped: of those that wait for a required key, only the "
            "newest of each person are kept."
        )
    if counts.get("shared"):
        yield (
            f"{counted(counts['shared'], 'removal')} from lists left out: somebody else who is on the list has the "
            "same identifier."
        )
    for name, number in counts.items():
        if name.startswith("unknown_field "):
            yield f"Ignored the unknown field {name.split(' ', 1)[1]!r} {number:,} times."


def _outcomes(summary: Summary) -> Table:
    """Columns that have only zeros and seldom anything else are left out."""
    heads = ("waited", "made", "delivered", "rejected", "expired", "superseded", "waiting", "requests")
    rows = {
        name: (
            each.before, each.made, each.delivered, each.rejected, each.expired, each.superseded, each.waiting,
            each.report.requests,
        )
        for name, each in summary.connections.items()
    }  # fmt: skip
    shown = [
        n for n, head in enumerate(heads)
        if head not in ("waited", "expired", "superseded") or any(row[n] for row in rows.values())
    ]  # fmt: skip
    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column("connection", overflow="fold")
    for head in (*(heads[n] for n in shown), "cap"):
        table.add_column(head, justify="right", no_wrap=True)
    for name, row in rows.items():
        table.add_row(name, *(f"{row[n]:,}" for n in shown), summary.connections[name].report.cap)
    return table


def _notes(name: str, each: ConnectionSummary) -> Iterator[str]:
    report = each.report
    if report.stopped:
        yield f"STOPPED: {report.stopped}."
    for target in sorted(report.remade):
        yield f"{made_again(target)}; everybody is told it once more."
    for key, words in sorted(report.blocked.items()):
        yield f"BLOCKED {key}: {words}. Its calls wait, the others go on."
    if each.elsewhere:
        yield f"another process {'delivers' if each.unfinished else 'delivered'} it."
    if report.handed_over and not report.remade:
        yield "the rest is another run's, which has a newer workspace."
    elif each.unfinished:
        jobs = f"the vendor still works on {counted(report.jobs, 'job')}" if report.jobs else ""
        said = report.trouble or report.silent or jobs or report.slow
        why = f": {said}" if said and not report.stopped else ""
        yield f"{counted(each.unfinished, 'call')} waiting for the next run{why}."
    for reason, number in sorted(report.rejected.items()):
        words = next((sample.words for sample in report.samples if sample.reason == reason), "")
        yield f"{number:,} rejected, {reason}{': ' + words if words else ''}"
    if each.expired:
        yield f"{each.expired:,} expired: for hours the vendor gave no useful answer. When it does: profilecast replay"
    if each.scheduled:
        yield f"{counted(each.scheduled, 'call')} scheduled, the first for {each.scheduled_until}."
    if report.unconfirmed:
        yield f"{counted(report.unconfirmed, 'delivered call')} unconfirmed: the vendor answers with a count only."
    for words, number in sorted(report.notes.items()):
        yield f"{noted(words, number)}."
    if each.kept:
        yield (
            f"{counted(each.kept, 'identifier')} of deleted persons cannot be deleted there by a request. The vendor "
            "keeps what it was told about them until somebody deletes it by hand."
        )
    if each.no_identifier:
        yield f"{counted(each.no_identifier, 'change')} of people without an identifier that it understands."


def _verdict(summary: Summary) -> str:
    connections = summary.connections
    waiting = sum(each.unfinished for each in connections.values())
    if summary.stopped:
        return f"Needs you: {', '.join(summary.stopped)}. {counted(waiting, 'call')} waiting; fix that, then run again."
    if summary.waiting:
        names = ", ".join(summary.waiting)
        return f"Not done yet: {names}. {counted(waiting, 'call')} waiting; run again, with or without events."
    delivered = sum(each.delivered for each in connections.values())
    if not any(each.delivered or each.rejected or each.expired for each in connections.values()):
        return f"Nothing was sent: {_why_nothing(summary)}.{_unusable(summary)}"
    rejected = f", {summary.rejected:,} rejected" if summary.rejected else ""
    return f"Done: {counted(delivered, 'call')} delivered{rejected}.{_unusable(summary)}"


def _unusable(summary: Summary) -> str:
    number = summary.input.get("dead_letters", 0)
    return f" {number:,} of {counted(summary.input.get('read', 0), 'record')} could not be used." if number else ""


def _why_nothing(summary: Summary) -> str:
    if not summary.profiles:
        return "no profile is known yet"
    scheduled = sum(each.scheduled for each in summary.connections.values())
    if scheduled:
        return f"{counted(scheduled, 'call')} scheduled for later"
    return "there is no news for any connection"
