"""What Google's APIs say is wrong: https://cloud.google.com/apis/design/errors (google.rpc.Status)."""

import re

from transforms.destinations.http import Reply
from transforms.destinations.reading import part, rows, word
from transforms.logic.hints import plausible

# Of the moment, whatever the HTTP status.
DATED = frozenset(
    {
        "ABORTED",
        "CANCELLED",
        "DEADLINE_EXCEEDED",
        "INTERNAL",
        "INTERNAL_ERROR",
        "UNAVAILABLE",
        "CONCURRENT_MODIFICATION",
    }
)


class GoogleError:
    """The error in an answer, or none."""

    def __init__(self, reply: Reply) -> None:
        error = part(reply.object, "error")
        details = rows(error, "details")
        wrong = [each for detail in details for each in rows(detail, "fieldViolations")]
        self.reasons = {word(error, "status"), *(word(each, "reason") for each in (*details, *wrong))} - {""}
        self.words = word(error, "message") or ("" if reply.ok else reply.words())
        self.wait = next((wait for each in details if (wait := _seconds(word(each, "retryDelay")))), None)
        self.members: dict[int, str] = {}  # what is said of members of the request, by place
        for each in wrong:
            if place := re.search(r"audience_?members\[(\d+)\]", word(each, "field"), re.I):
                words = word(each, "description") or word(each, "reason") or self.words
                self.members.setdefault(int(place[1]), words)


def _seconds(written: str) -> float | None:
    found = re.fullmatch(r"(\d+(?:\.\d+)?)s", written)
    return plausible(float(found[1])) if found else None
