"""Outcomes: what became of a call. One per call, final except `Later`."""

from typing import Literal

from msgspec import Struct

# The closed set of reasons for a rejected call. The vendor's own words stand beside it.
Reason = Literal[
    "missing_required_key",  # a key that the vendor requires is not known (yet); ours, no request
    "unsupported",  # the destination cannot take this kind of call or value; ours, no request
    "invalid_identifier",  # the vendor refuses the identifier
    "invalid_value",  # the vendor refuses the value or its type
    "unknown_field",  # the vendor has no such field, event or list
    "not_found",  # the vendor does not know the person
    "conflict",  # the vendor has another record in the way
    "forgotten",  # the vendor was told to forget the person
    "forbidden",  # the vendor does not allow this for this record
    "too_large",  # one call is more than the vendor takes
    "fault",  # the destination's module fails for it: a fault of ours
    "refused",  # anything else that is final
]


class Delivered(Struct, frozen=True):
    """The vendor acknowledged the call. `unconfirmed`: with a count only, not this call by name."""

    unconfirmed: bool = False


class Rejected(Struct, frozen=True):
    """Final: not tried again until the call or the connection's settings change."""

    reason: Reason
    words: str = ""  # the vendor's own
    maybe: bool = False  # an earlier attempt at it had no answer, and may have arrived
    attempts: int = 0  # requests that carried it in this run; 0: none


class Expired(Struct, frozen=True):
    """Final: for hours the vendor could not be reached, or gave no answer that tells what became of the call."""

    words: str = ""
    maybe: bool = True  # a request of it may have arrived
    attempts: int = 0  # requests that carried it in this run


class Later(Struct, frozen=True):
    """The vendor could not take this one call now; its batch fellows have their own outcomes."""

    after: float | None = None  # seconds; None: the sender's backoff decides
    words: str = ""


class Blocked(Struct, frozen=True):
    """What calls like this one need at the vendor (a list, a field, a permission for it) is missing or refused.

    Nobody is rejected for it: the calls of this call's key wait, the others go on, and the run says
    the words. With `prepare` the sender asks the destination to prepare the key once more, and tries
    again, before it believes it. `lost`, beside it: the vendor had it, and says that it has it no
    more; if it is made again, everybody is told again. Without it, this call needs what none before
    it needed.
    """

    words: str
    prepare: bool = False
    lost: bool = False


class Submitted(Struct, frozen=True):
    """The vendor took the call into a job, and says only later what became of it: the sender asks by `collect`.

    The job may outlive the process. Until its end, nothing newer about the same person goes.
    """

    job: str  # the vendor's name of it
    after: float = 60.0  # seconds until to ask


class Superseded(Struct, frozen=True):
    """Final: a newer call took its place, the vendor has its value already, or it was taken back."""

    maybe: bool = False  # a request of it, or of one it took the place of, may have arrived


Final = Delivered | Rejected | Expired | Superseded
Outcome = Delivered | Rejected | Later | Blocked | Submitted
