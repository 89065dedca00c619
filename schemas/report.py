"""What one connection did while it was delivered: counted by the sender, printed and stored by the run."""

from typing import Any

from msgspec import Struct, field
from msgspec.structs import replace

_SAMPLES = 10  # rejected calls that are kept of two deliveries in a row
NO_CAP = "none"


class Sample(Struct, frozen=True):
    """One rejected call, without personal data: enough to know what to fix."""

    reason: str
    key: str
    words: str


class Tally(Struct):
    """What a connection's requests came to, over all its deliveries in this process."""

    requests: int = 0
    statuses: dict[str, int] = {}
    answers: dict[str, int] = {}
    answer_seconds: float = 0.0

    def plus(self, report: "Report") -> "Tally":
        """With those of one more delivery. From any thread: it copies first what the sender writes."""
        return Tally(
            self.requests + report.requests,
            _sum(self.statuses, dict(report.statuses)),
            _sum(self.answers, dict(report.answers)),
            self.answer_seconds + report.answer_seconds,
        )

    def told(self) -> dict[str, Any]:
        """As a status has it."""
        seconds = round(self.answer_seconds, 3)
        return {
            "requests": self.requests,
            "statuses": self.statuses,
            "answers": self.answers,
            "answer_seconds": seconds,
        }


class Report(Struct, kw_only=True):
    """One connection's deliveries. Times in seconds."""

    connection: str
    destination: str
    cap: str = NO_CAP  # as people say it: `100/s`
    calls: int = 0  # that waited when the delivery began, and that came since
    delivered: int = 0
    unconfirmed: int = 0  # of the delivered: the vendor gave a count only
    rejected: dict[str, int] = {}  # by reason
    expired: int = 0
    superseded: int = 0  # replaced by newer calls, taken back, or what the vendor had already
    requests: int = 0  # every attempt
    statuses: dict[str, int] = {}  # of replies; `none` where there was none
    seconds: float = 0.0
    samples: list[Sample] = []
    stopped: str = ""  # why the connection stopped though there was more to do
    # It stopped since too many of the first calls were rejected: a person has to look. In files it has an older name.
    needs_person: bool = field(default=False, name="paused")
    trouble: str = ""  # why calls were left waiting though it did not stop: of the last ones
    silent: str = ""  # since when, and why, the vendor gives no useful answer; as it was seen last
    silent_since: float = 0.0  # the same moment, seconds since 1970
    slow: str = ""  # why fewer requests go than the cap allows; as it was seen last
    remade: dict[
        str, float
    ] = {}  # `form/key` of what was gone at the vendor and made again, or emptied; seconds since 1970
    blocked: dict[str, str] = {}  # keys whose calls wait until somebody fixes what they need: the vendor's words
    notes: dict[str, int] = {}  # what the destination has to say of it, and of how many calls; 0: of none in particular
    jobs: int = 0  # of the vendor's, that are not over: some of the calls that wait are in them
    scheduled: int = 0  # of those that wait: for a list's next flush, or for a time of their own
    scheduled_until: str = ""  # when the first of them go, RFC 3339
    held_until: str = ""  # the vendor, or a long cap, takes nothing before, RFC 3339
    handed_over: bool = False  # somebody decided with a newer workspace: its sender does the rest
    elsewhere: bool = False  # another process delivers it
    shared_identifiers: int = 0
    curve: list[tuple[float, float, str]] = []  # learned rate: seconds since the start, share of the cap, why

    traffic: list[tuple[float, float, int, int]] = []  # seconds since the start, of how many; requests, throttled ones
    answers: dict[str, int] = {}  # answers by the seconds that they took at most; `more`
    answer_seconds: float = 0.0  # that all of them took

    rate: float = 0.0  # requests per second, over the last seconds
    seconds_left: float = 0.0  # an estimate; 0: none yet
    estimate_error: float | None = None  # by which share of `seconds` the estimates were wrong, on average

    @property
    def rejections(self) -> int:
        return sum(self.rejected.values())

    @property
    def pace_note(self) -> str:
        """What keeps it from its cap."""
        return self.silent or self.slow

    @property
    def settled(self) -> int:
        return self.delivered + self.rejections + self.expired + self.superseded

    @property
    def pending(self) -> int:
        """Calls without an outcome."""
        return self.calls - self.settled

    def after(self, later: "Report") -> "Report":
        """This one and a later one of the same connection, as if they were one."""
        return replace(
            later,
            cap=self.cap if later.cap == NO_CAP else later.cap,  # one that sent nothing knows of none
            calls=self.settled + later.calls,
            delivered=self.delivered + later.delivered,
            unconfirmed=self.unconfirmed + later.unconfirmed,
            rejected=_sum(self.rejected, later.rejected),
            expired=self.expired + later.expired,
            superseded=self.superseded + later.superseded,
            requests=self.requests + later.requests,
            statuses=_sum(self.statuses, later.statuses),
            seconds=self.seconds + later.seconds,
            remade=self.remade | later.remade,
            notes=_sum(self.notes, later.notes),
            samples=(self.samples + later.samples)[:_SAMPLES],
            shared_identifiers=self.shared_identifiers + later.shared_identifiers,
            curve=self.curve + [(at + self.seconds, share, why) for at, share, why in later.curve],
            traffic=self.traffic + [(at + self.seconds, *row) for at, *row in later.traffic],
            answers=_sum(self.answers, later.answers),
            answer_seconds=self.answer_seconds + later.answer_seconds,
            estimate_error=self.estimate_error if later.estimate_error is None else later.estimate_error,
        )


def _sum(one: dict[str, int], other: dict[str, int]) -> dict[str, int]:
    return {key: one.get(key, 0) + other.get(key, 0) for key in (one | other)}
