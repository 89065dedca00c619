"""What a vendor in trouble must not do: delay others, be asked too much, lose calls, fill memory."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks.faulty import Sent
from benchmarks.troubles import Trouble

LONGER = 1.1  # times
MEMORY = 16.0  # MB


@dataclass(frozen=True)
class Seen:
    """What the process said, and what the vendor saw."""

    trouble: Trouble
    sent: Sent
    told: set[int]  # calls by their number
    most: int  # requests in a sliding second


def mistakes(seen: Seen, alone: Sent) -> Iterator[str]:
    """The bounds that are passed."""
    trouble, sent, report = seen.trouble, seen.sent, seen.sent.beside
    if sent.hook.pending or sent.hook.delivered != sent.hook.calls:
        yield f"the webhook was told {sent.hook.delivered:,} of {sent.hook.calls:,}"
    if sent.hook.seconds > LONGER * alone.hook.seconds:
        yield f"the webhook took {sent.hook.seconds / alone.hook.seconds:.2f} times as long as alone"
    if seen.most > trouble.cap:
        yield f"{seen.most} requests in a second, the cap is {trouble.cap}"
    if report.requests < trouble.used * trouble.cap * sent.hook.seconds:
        yield f"only {report.requests} requests in {sent.hook.seconds:.1f} s, the cap is {trouble.cap}"
    if sent.peak > alone.peak + MEMORY:
        yield f"{sent.peak - alone.peak:.0f} MB more than alone"
    if report.stopped:
        yield f"it stopped: {report.stopped}"
    if trouble.shows and trouble.shows not in report.statuses:
        yield f"the trouble was not there: no {trouble.shows} in {report.statuses}"
    if trouble.through and trouble.calls and not report.delivered:
        yield "nothing got through"
    yield from _lost(seen)


def _lost(seen: Seen) -> Iterator[str]:
    """Where receipts, report and what the vendor was told disagree."""
    report, states = seen.sent.beside, seen.sent.states
    number = Counter(states)
    receipts = (number["d"], number["r"] + number["u"], number["w"] + number["s"])
    reported = (report.delivered, report.rejections + report.expired, report.pending)
    if receipts != reported or sum(reported) != seen.trouble.calls:
        yield f"{seen.trouble.calls} calls; delivered, rejected or expired, waiting: {reported}, receipts: {receipts}"
    if lost := {n for n, state in enumerate(states) if state == "d"} - seen.told:
        yield f"{len(lost):,} are delivered, and the vendor was not told"
    if unknown := {n for n in seen.told if states[n] in "wr"}:
        yield f"the vendor was told {len(unknown):,} that are held for not sent"
