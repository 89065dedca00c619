"""Facts about a profile, as they travel to the fold of unbounded input."""

from msgspec import Struct

from schemas.calls import Call
from schemas.receipts import Receipt


class EventFact(Struct, array_like=True, tag="event"):
    """A raw event, as a line of JSON."""

    line: bytes


class ReceiptFact(Struct, array_like=True, tag="receipt"):
    receipt: Receipt


class RetryFact(Struct, array_like=True, tag="retry"):
    """A rejected or expired call that is to be tried again; `refused`: see `transforms.logic.ledger`."""

    call: Call
    refused: bytes


class TickFact(Struct, array_like=True, tag="tick"):
    """The workspace changed."""


AnyFact = EventFact | ReceiptFact | RetryFact | TickFact
