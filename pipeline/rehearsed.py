"""What a rehearsal of a plan came to, as data and in words."""

from collections.abc import Iterator, Sequence

from msgspec import Struct

from pipeline.commands.output import about, counted, show_text
from schemas.report import Sample


class Rehearsed(Struct, frozen=True, kw_only=True):
    """What became of the calls of one connection at the sandbox."""

    people: int = 0
    calls: int = 0  # of these people
    all_calls: int = 0  # with those of all others
    delivered: int = 0
    superseded: int = 0
    rejected: dict[str, int] = {}  # by reason
    expired: int = 0
    waiting: int = 0
    scheduled: int = 0  # of these: until a list is flushed, or for a time of their own
    scheduled_until: str = ""
    requests: int = 0
    seconds: float = 0.0  # in virtual time, in which nothing but waiting takes any
    cap: str = ""  # "": there is none
    statuses: dict[str, int] = {}  # of answers; `none` where there was none
    samples: list[Sample] = []  # of rejected calls, without personal data
    stopped: str = ""  # why it stopped though there was more to do
    trouble: str = ""  # why calls were left waiting
    blocked: dict[str, str] = {}  # keys whose calls wait, with the vendor's words
    notes: list[str] = []

    @property
    def good(self) -> bool:
        """Whether the vendor took everything that was to go now."""
        refused = self.rejected or self.expired or self.stopped or self.blocked
        return not refused and self.waiting == self.scheduled


def show_rehearsed(found: dict[str, Rehearsed], made_up: Sequence[str]) -> None:
    """Print it, connection by connection. `made_up`: names of secrets."""
    print("\nRehearsed on the sandbox, in virtual time; nothing was sent to a vendor, and nothing is remembered.")
    if made_up:
        show_text(f"Without a value here, so a made-up one stands for it: {', '.join(made_up)}.")
    for name, each in found.items():
        for number, line in enumerate(said(each)):
            show_text(f"{name}: {line}" if not number else line, 2 if number else 0)


def said(each: Rehearsed) -> Iterator[str]:
    """Sentences about one connection; the first one says how it went."""
    if not each.calls and not each.stopped:
        yield "nothing to rehearse"
        return
    part = f" of {each.all_calls:,}, those of {counted(each.people, 'person').replace('persons', 'people')}"
    how = "all is well" if each.good else "not everything went well"
    yield f"{how}: {counted(each.calls, 'call')}{part if each.calls < each.all_calls else ''}"
    if each.requests:
        yield "; ".join([_paced(each), *_bad_answers(each)])
    yield ", ".join(_fates(each)) or "nothing became of them"
    for sample in dict.fromkeys(each.samples):
        yield f"rejected, {sample.reason}, {sample.key}: {sample.words or 'without words'}"
    for key, words in each.blocked.items():
        yield f"the calls of `{key}` wait: {words}"
    if each.stopped:
        yield f"it stopped: {each.stopped}"
    elif each.trouble:
        yield f"calls were left waiting: {each.trouble}"
    yield from each.notes


def _paced(each: Rehearsed) -> str:
    time = f" in {about(each.seconds)}" if each.seconds >= 1 else ""
    return f"{counted(each.requests, 'request')}{time}; " + (f"its cap is {each.cap}" if each.cap else "it has no cap")


def _fates(each: Rehearsed) -> Iterator[str]:
    if each.delivered:
        yield f"{each.delivered:,} delivered"
    if each.superseded:
        yield f"{each.superseded:,} not needed"
    for reason, number in each.rejected.items():
        yield f"{number:,} rejected ({reason})"
    if each.expired:
        yield f"{each.expired:,} expired"
    if each.scheduled:
        yield f"{each.scheduled:,} wait until {each.scheduled_until}"
    if left := each.waiting - each.scheduled:
        yield f"{left:,} wait"


def _bad_answers(each: Rehearsed) -> Iterator[str]:
    """How many requests were answered by no success."""
    for status, number in each.statuses.items():
        if not status.startswith("2"):
            yield f"{number:,} {f'answered {status}' if status.isdecimal() else 'not answered'}"
