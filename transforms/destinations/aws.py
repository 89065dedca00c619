"""What destinations at Amazon Web Services have in common: access, requests, errors.

The names of errors are those of botocore's service models.
"""

import re
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import Annotated, Any

from msgspec import Meta, Struct

from transforms.destinations.contract import (
    Blocked,
    Delivered,
    Later,
    Outcome,
    Rejected,
    Reply,
    Request,
    Secret,
    Verdict,
    by_status,
    retry_after,
)
from transforms.destinations.messages import Messages
from transforms.destinations.plain import Item
from transforms.destinations.reading import items as listed
from transforms.destinations.reading import word
from transforms.destinations.safety import check_texts

# Of who asks: the key is wrong, not active, or the signature is.
CREDENTIALS = {
    "ExpiredToken", "ExpiredTokenException", "IncompleteSignature", "IncompleteSignatureException",
    "InvalidAccessKeyId", "InvalidClientTokenId", "InvalidSignatureException", "MissingAuthenticationToken",
    "MissingAuthenticationTokenException", "OptInRequired", "RequestExpired", "RequestTimeTooSkewed",
    "SignatureDoesNotMatch", "UnrecognizedClientException",
}  # fmt: skip
# Of the set-up: what is written to is not there, or this key may not write to it. Never of one message.
SETUP = {
    "AccessDenied", "AccessDeniedException", "AllAccessDisabled", "InvalidKMSResourceException",
    "LimitExceededException", "NoSuchBucket", "NotAuthorizedException", "NotAuthorizedForSourceException",
    "PermanentRedirect", "ResourceNotFoundException",
}  # fmt: skip
# Of the moment, or of how much is asked at once.
THROTTLED = re.compile(r"Throttl|ThroughputExceeded|TooManyRequests|RequestLimitExceeded|SlowDown")
MOMENT = {
    "ConcurrentModificationException", "InternalException", "InternalFailure", "InternalFailureException",
    "ResourceConflictException", "ResourceNotReadyException", "ServiceUnavailable", "ServiceUnavailableException",
}  # fmt: skip
_XML_CODE = re.compile(r"<Code>(\w+)</Code>")


def extra_fault(installed: Callable[[str], Any] = find_spec) -> str:
    """Why nothing can be signed; "" if nothing."""
    if installed("botocore"):
        return ""
    return "what signs requests to Amazon is not installed; install it: pip install 'apache-beam[aws]'"


class Access(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of the settings: where it is, and the key of a user who may write there."""

    # China has hosts of its own, and is left out.
    region: Annotated[
        str, Meta(pattern=r"^(?!cn-)[a-z]{2}(-[a-z]+)+-\d+$", description="The AWS region, such as eu-west-1.")
    ]
    access_key_id: Annotated[
        str, Meta(pattern=r"^\w+$", description="Access key ID of an IAM user: IAM > Users > Security credentials.")
    ]
    secret_access_key: Annotated[Secret, Meta(description="The secret access key that belongs to it.")]

    def __post_init__(self) -> None:
        check_texts(self)
        if fault := extra_fault():
            raise ValueError(fault)


class Aws(Messages):
    """Base of the destinations."""

    def call(self, target: str, body: Any) -> Request:
        """A request of the JSON protocol: `target` names the operation."""
        return self.post("/", body, headers={"content-type": "application/x-amz-json-1.1", "x-amz-target": target})

    def classify(self, request: Request, reply: Reply, items: int) -> Verdict:
        """Many errors are a 400 with a name."""
        code = "" if reply.ok else error(reply)
        if code in CREDENTIALS:
            return Verdict("credentials", words=reply.words())
        if THROTTLED.search(code):
            return Verdict("throttled", retry_after(reply), reply.words())
        if code in MOMENT:
            return Verdict("transient", retry_after(reply), reply.words())
        if code in SETUP or code.startswith("KMS"):
            return Verdict("stop", words=reply.words())
        return by_status(reply, items)


def error(reply: Reply) -> str:
    """The name of an error, which stands in a header, in JSON or in XML; "" where there is none."""
    named = reply.headers.get("x-amzn-errortype") or word(reply.object, "__type")
    if not named and (found := _XML_CODE.search(reply.words())):
        return found[1]
    return named.partition(":")[0].rpartition("#")[2]


def by_place(reply: Reply, name: str, taken: str, told: Sequence[Item]) -> list[Outcome]:
    """What became of each message, by the rows of a good answer, which are in the order of the request.

    `taken` is what the row of a message has that was stored.
    """
    rows = listed(reply.object, name)
    if len(rows) != len(told):
        rows = [None] * len(told)
    return [_outcome(row, taken) for row in rows]


def _outcome(row: Any, taken: str) -> Outcome:
    code = word(row, "ErrorCode")
    if not code:
        return Delivered() if word(row, taken) else Later(words="the answer does not say what became of it")
    words = f"{code}: {word(row, 'ErrorMessage')}"
    if code in MOMENT or THROTTLED.search(code):
        return Later(words=words)
    if code in SETUP or code.startswith("KMS"):
        return Blocked(words)
    return Rejected("refused", words)
