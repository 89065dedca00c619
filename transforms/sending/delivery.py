"""What the sender is given: a connection's log, the caps of its vendor account, and how to deliver."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from schemas.report import Report
from schemas.workspace import Connection, Workspace
from transforms.destinations.contract import Destination
from transforms.sending.log import Kept, Log


@dataclass(frozen=True)
class SenderOptions:
    """How to deliver. Seconds, where nothing else is said."""

    gateway: str = ""  # every vendor request goes to GATEWAY/<vendor host>/<path> instead
    retry_stopped: float = 300.0  # after how long a service tries again what stopped, or a key that is blocked
    retry_for: float = 600.0  # how long a request is tried again before its calls are left waiting
    give_up_after: float = 4 * 3600.0  # how long a call is tried again, over all runs, before it expires
    connect_timeout: float = 10.0
    read_timeout: float = 30.0
    finish_within: float = 15.0  # how long a stopping sender waits for what is in flight
    max_reject_rate: float = 0.5  # of the first calls of a first sync; above it, the connection stops
    mask_dead_letters: bool = False


class Active(NamedTuple):
    """A slot as the sender's workspace has it; calls of other slots and epochs are superseded."""

    epoch: int
    settings: bytes = b""  # digest of what a rejection depends on besides the call, see `transforms.logic.plan`
    flush_every: float = 0.0  # seconds between flushes of a list; 0: it is none


@dataclass
class Delivery:
    """One connection's log to be delivered. The caller has its lease, and closes nothing: the sender closes the log."""

    workspace: Workspace
    connection: Connection
    log: Log
    caps: Kept  # the long windows and holds of its `limit_group`, over processes and state directories
    active: dict[int, Active]  # by slot; deletions have one too
    number: int = 0  # of the workspace; when the log knows of a newer one, the sender drains and hands over
    options: SenderOptions = field(default_factory=SenderOptions)
    follow: bool = False  # wait for more calls, and for those that wait for their time, until stopped
    ahead: float = 0.0  # seconds by which the clock that lists are flushed by is ahead of this machine's
    tokens: Kept | None = None  # the refresh token that took the place of the one in the settings
    destination: Destination | None = None  # by default it is made by the sender
    refreshed: dict[str, float] = field(default_factory=dict)  # lists: when a full refresh was asked of each, by key
    remade: dict[str, float] = field(default_factory=dict)  # by `form/key`: what was made again that the decider knows
    owned: Callable[[], bool] = lambda: True  # whether nobody else can have begun to send; asked before each request
    report: Report = field(init=False)

    def __post_init__(self) -> None:
        self.report = Report(connection=self.connection.name, destination=self.connection.destination)
