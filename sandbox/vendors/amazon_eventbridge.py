"""Amazon EventBridge: PutEvents of the API of 2015-10-07."""

from typing import Any

import msgspec

from sandbox.aws import AwsVendor
from sandbox.vendor import Answer, Cap, Request, on

MOST, MOST_BYTES = 10, 256 * 1024
TEXTS = ("Source", "DetailType", "Detail")


class AmazonEventBridge(AwsVendor):
    slug = "amazon-eventbridge"
    service = "events"
    hosts = (r"events\.[a-z0-9-]+\.amazonaws\.com",)
    caps = (Cap(400),)

    @on("POST", "/")
    def put_events(self, request: Request) -> Answer:
        if request.headers.get("x-amz-target") != "AWSEvents.PutEvents":
            return self.unknown(request)
        if request.headers.get("content-type") != "application/x-amz-json-1.1":
            return self.error(404, "UnknownOperationException")
        entries = request.object.get("Entries")
        if not isinstance(entries, list) or not 1 <= len(entries) <= MOST:
            return self.error(400, "ValidationException", f"1 to {MOST} entries are taken")
        if not all(isinstance(entry, dict) for entry in entries):
            return self.error(400, "SerializationException")
        if sum(_size(entry) for entry in entries) > MOST_BYTES:
            return self.error(400, "ValidationException", "Total size of the entries in the request is over the limit.")
        rows = [self._put(entry, request.at) for entry in entries]
        return Answer(200, {"FailedEntryCount": sum("ErrorCode" in row for row in rows), "Entries": rows})

    def _put(self, entry: dict[str, Any], at: float) -> dict[str, Any]:
        for name in TEXTS:
            if not isinstance(entry.get(name), str) or not entry[name]:
                return _failed("InvalidArgument", f"{name} is a required argument.")
        if entry["Source"].startswith("aws"):
            return _failed("NotAuthorizedForSourceException", "Not authorized for the source.")
        if not isinstance(entry.get("Time", 0), int | float):
            return _failed("InvalidArgument", "Parameter Time is not valid.")
        try:
            message = msgspec.json.decode(entry["Detail"], type=dict[str, Any])
        except msgspec.DecodeError:
            return _failed("MalformedDetail", "Detail is malformed.")
        self.keep(message, at)
        return {"EventId": f"event-{len(self.events)}"}


def _failed(code: str, words: str) -> dict[str, Any]:
    return {"ErrorCode": code, "ErrorMessage": words}


def _size(entry: dict[str, Any]) -> int:
    """As Amazon counts it: 14 bytes for the time, and the texts."""
    texts = sum(len(str(entry.get(name) or "").encode()) for name in TEXTS)
    return texts + (14 if "Time" in entry else 0)
