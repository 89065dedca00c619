"""What one connection did in one run: counted by the sender, printed and stored by the run."""

from msgspec import Struct


class Sample(Struct, frozen=True):
    """One rejected call, without personal data: enough to know what to mend."""

    reason: str
    key: str
    words: str


class Report(Struct, kw_only=True):
    """One connection's deliveries. Times in seconds."""

    connection: str
    destination: str
    cap: str = "none"  # as people say it: `100/s`
    calls: int = 0  # in the outbox
    delivered: int = 0
    unconfirmed: int = 0  # of the delivered: the vendor gave a count only
    rejected: dict[str, int] = {}  # by reason
    expired: int = 0
    requests: int = 0  # every attempt
    statuses: dict[str, int] = {}  # of replies; `none` where there was none
    seconds: float = 0.0
    samples: list[Sample] = []
    stopped: str = ""  # why the connection stopped before its outbox was done
    trouble: str = ""  # why calls were left for the next run though it did not stop: of the last ones
    shared_identifiers: int = 0
    curve: list[tuple[float, float, str]] = []  # learned rate: seconds since the start, share of the cap, why

    rate: float = 0.0  # requests per second, over the last seconds
    seconds_left: float = 0.0  # an estimate; 0: none yet
    estimate_error: float | None = None  # by which share of `seconds` the estimates were wrong, on average

    @property
    def rejections(self) -> int:
        return sum(self.rejected.values())

    @property
    def pending(self) -> int:
        """Waits for the next run."""
        return self.calls - self.delivered - self.rejections - self.expired
