"""The page of a report: one HTML file that needs nothing else, and loads nothing."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from html import escape

from pipeline.charts import audience_chart, bar, rate_chart
from pipeline.commands.output import about, counted
from pipeline.report_data import ConnectionNow, ReportData
from pipeline.summary import Summary
from pipeline.why import moment
from schemas.report import Report
from transforms.sending.deferred import next_flush

_STYLE = """
:root { --ink: #1d2430; --soft: #667085; --line: #e4e7ec; --good: #2e7d5b; --bad: #b3382c; --wait: #b7791f; }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); margin: 0 auto; max-width: 72rem; padding: 2rem; }
h1 { font-size: 1.6rem; margin: 0 } h2 { font-size: 1.2rem; margin: 2.5rem 0 .5rem } h3 { margin: 1.5rem 0 .3rem }
p, small { color: var(--soft) } .alarm { color: var(--bad); font-weight: 600 }
table { border-collapse: collapse; width: 100%; margin: .5rem 0 } th { text-align: left; color: var(--soft) }
th, td { border-bottom: 1px solid var(--line); padding: .3rem .8rem .3rem 0; vertical-align: top; font-weight: 400 }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap }
.flow { display: flex; flex-wrap: wrap; gap: .7rem } .flow div { border: 1px solid var(--line); border-radius: 8px;
padding: .6rem .9rem; min-width: 7rem }
.flow b { display: block; font-size: 1.3rem; font-variant-numeric: tabular-nums }
.flow i { align-self: center; color: var(--soft); font-style: normal } .good b { color: var(--good) }
.bad b { color: var(--bad) } .wait b { color: var(--wait) } svg { display: block; max-width: 100% }
svg text { font: 11px system-ui, sans-serif; fill: var(--soft) }
@media print { body { padding: 0 } h2 { break-after: avoid } }
"""
_TITLE = "profilecast report"


def page(data: ReportData) -> str:
    """The whole file."""
    about_ = f"{data.workspace}: how it stands on {_time(data.at)}, and {counted(len(data.runs), 'run')}"
    parts = [
        f"<h1>{escape(data.workspace)}</h1><p>{escape(about_)}. {counted(data.profiles, 'profile')} known.</p>",
        _now(data),
        _flow(data.runs),
        *(_connection(name, now, data.runs) for name, now in data.connections.items()),
        _audiences(data),
        _runs(data.runs),
    ]
    policy = "default-src 'none'; style-src 'unsafe-inline'"
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{_TITLE}: {escape(data.workspace)}</title>'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style>\n<body>'
        + "\n".join(part for part in parts if part)
        + "\n"
    )


# -- how it stands


def _now(data: ReportData) -> str:
    heads = ("connection", "waiting", "oldest waiting since", "deletions owed", "lists are flushed next", "needs you")
    rows = [
        (
            name,
            f"{now.waiting:,}",
            f"{moment(now.oldest)} ({about(data.at.timestamp() - now.oldest)})" if now.oldest else "",
            f"{now.deletions:,}" if now.deletions else "",
            "; ".join(_flushes(now, data.at.timestamp())),
            _trouble(_last(name, data.runs)),
        )
        for name, now in data.connections.items()
    ]
    return "<h2>Now</h2>" + _table(heads, rows, numbers=(1, 3), alarms=(5,))


def _flushes(now: ConnectionNow, at: float) -> Iterator[str]:
    for sync, began in sorted(now.flushed.items()):
        due = next_flush(began, now.flush_every)
        when = f"at {moment(due)}" if due > at else "at once" if now.flush_every else f"after {moment(began)}"
        yield f"{sync} {when}"


def _trouble(report: Report | None) -> str:
    if report is None:
        return ""
    words = [f"stopped: {report.stopped}"] if report.stopped else []
    words += [f"{key} is blocked: {why}" for key, why in sorted(report.blocked.items())]
    if report.scheduled_until:
        words.append(f"{counted(report.scheduled, 'call')} scheduled, the first for {report.scheduled_until}")
    return "; ".join(words)


def _last(name: str, runs: Sequence[Summary]) -> Report | None:
    return next((run.connections[name].report for run in reversed(runs) if name in run.connections), None)


# -- the flow of counts


def _flow(runs: Sequence[Summary]) -> str:
    """From events to outcomes, over all these runs."""
    if not runs:
        return (
            "<h2>Runs</h2><p>None in this time. A service makes no runs: its counts are those of each connection.</p>"
        )
    told = {
        name: sum(run.input.get(name, 0) for run in runs) for name in ("read", "applied", "unchanged", "dead_letters")
    }
    each = [connection for run in runs for connection in run.connections.values()]
    made, delivered = sum(x.made for x in each), sum(x.delivered for x in each)
    first, last = runs[0].connections.values(), runs[-1].connections.values()
    boxes = [
        _box("events read", told["read"]),
        _box("said something new", told["applied"]),
        _box("said nothing new", told["unchanged"]),
        _box("unusable", told["dead_letters"], "bad"),
        "<i>→</i>",
        _box("calls waited before", sum(x.before for x in first)),
        _box("calls made", made),
        "<i>→</i>",
        _box("delivered", delivered, "good"),
        _box("rejected", sum(x.rejected for x in each), "bad"),
        _box("expired", sum(x.expired for x in each), "bad"),
        _box("superseded", sum(x.superseded for x in each)),
        _box("waiting after", sum(x.waiting for x in last), "wait"),
    ]
    mistakes = "".join(f'<p class="alarm">Does not add up: {escape(m)}</p>' for run in runs for m in run.mistakes)
    unusable = _lines(line for run in runs for line in run.unusable)
    return f'<h2>From events to outcomes</h2><div class="flow">{"".join(boxes)}</div>{unusable}{mistakes}'


def _box(words: str, number: int, kind: str = "") -> str:
    return f'<div class="{kind if number else ""}"><b>{number:,}</b>{words}</div>'


# -- one connection


def _connection(name: str, now: ConnectionNow, runs: Sequence[Summary]) -> str:
    mine = [(run, run.connections[name].report) for run in runs if name in run.connections]
    parts = [f"<h2>{escape(name)}</h2>", _fates(now)]
    if now.reasons:
        rows = [(r.reason, f"{r.number:,}", r.words, r.advice) for r in now.reasons]
        parts.append("<h3>What came to nothing, and why</h3>")
        parts.append(_table(("reason", "calls", "the vendor's words", "what to do"), rows, numbers=(1,)))
    answers: dict[str, int] = {}
    for run, report in mine:
        for bound, number in report.answers.items():
            answers[bound] = answers.get(bound, 0) + number
        if len(report.traffic) > 1 or report.curve:
            parts.append(f"<h3>Requests per second in run {escape(run.run)}, cap {escape(report.cap)}</h3>")
            parts.append(rate_chart(report))
    parts.append(_usual([report for _, report in mine], answers))
    return "".join(parts)


def _fates(now: ConnectionNow) -> str:
    colours = {"delivered": "good", "rejected": "bad", "expired": "bad", "superseded": "line", "waiting": "wait"}
    numbers = {**{fate: now.fates.get(fate, 0) for fate in colours}, "waiting": now.waiting}
    words = ", ".join(f"{number:,} {fate}" for fate, number in numbers.items() if number)
    return f"<p>{counted(now.made, 'call')} since the state was made: {words or 'none'}.</p>" + bar(
        [(numbers[fate], colour) for fate, colour in colours.items()]
    )


def _usual(reports: Sequence[Report], answers: dict[str, int]) -> str:
    """Batch fill, statuses and answer times."""
    requests, calls = sum(r.requests for r in reports), sum(r.delivered + r.rejections for r in reports)
    if not requests:
        return ""
    statuses: dict[str, int] = {}
    for report in reports:
        for status, number in report.statuses.items():
            statuses[status] = statuses.get(status, 0) + number
    told = [
        f"{counted(requests, 'request')}, {calls / requests:.1f} calls in each",
        "answers: " + ", ".join(f"{number:,} × {status}" for status, number in sorted(statuses.items())),
    ]
    bounds = sorted(answers, key=lambda each: float("inf") if each == "more" else float(each))
    if bounds:
        within = ", ".join(f"{answers[each]:,} {f'within {each} s' if each != 'more' else 'later'}" for each in bounds)
        told.append(f"answer times: {within}")
    return "<h3>Requests</h3>" + _lines(told)


# -- audiences and runs


def _audiences(data: ReportData) -> str:
    if not data.audiences:
        return ""
    parts = ["<h2>Audiences</h2><p>Members at the end of each day.</p>"]
    for name, audience in data.audiences.items():
        chart = audience_chart(audience, data.at.date())
        parts.append(f"<h3>{escape(name)}: {counted(audience.size, 'member')}</h3>{chart}")
    return "".join(parts)


def _runs(runs: Sequence[Summary]) -> str:
    rows = [
        (
            run.run,
            f"{run.input.get('read', 0):,}",
            f"{sum(each.made for each in run.connections.values()):,}",
            f"{sum(each.delivered for each in run.connections.values()):,}",
            f"{run.rejected:,}",
            ", ".join(run.stopped),
        )
        for run in reversed(runs)
    ]
    heads = ("run", "events", "calls made", "delivered", "rejected", "stopped")
    return "<h2>Runs</h2>" + _table(heads, rows, numbers=(1, 2, 3, 4), alarms=(5,)) if rows else ""


# -- words


def _table(
    heads: Sequence[str], rows: Iterable[Sequence[str]], numbers: Sequence[int] = (), alarms: Sequence[int] = ()
) -> str:
    def cell(kind: str, place: int, text: str) -> str:
        style = ' class="n"' if place in numbers else ' class="alarm"' if kind == "td" and place in alarms else ""
        return f"<{kind}{style}>{escape(text)}</{kind}>"

    lines = [("th", heads), *(("td", row) for row in rows)]
    body = ("".join(cell(kind, place, text) for place, text in enumerate(cells)) for kind, cells in lines)
    return f"<table>{''.join(f'<tr>{line}</tr>' for line in body)}</table>"


def _lines(words: Iterable[str]) -> str:
    return "".join(f"<p>{escape(each)}</p>" for each in words)


def _time(moment_: datetime) -> str:
    return moment(moment_.timestamp())
