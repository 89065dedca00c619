"""Amazon Data Firehose: PutRecordBatch of the API of 2015-08-04, and a stream that takes 5 MiB in a second."""

from base64 import b64decode
from collections.abc import Callable
from typing import Any

from sandbox.aws import AwsVendor, message_in
from sandbox.vendor import Answer, Cap, Request, on

PER_SECOND = 5 * 2**20  # bytes
MOST, MOST_BYTES = 500, 4 * 2**20  # of a request
LONGEST = 1_024_000  # bytes of a record


class AmazonKinesisFirehose(AwsVendor):
    slug = "amazon-kinesis-firehose"
    service = "firehose"
    hosts = (r"firehose\.[a-z0-9-]+\.amazonaws\.com",)
    caps = (Cap(1_000),)

    def __init__(self, refuses: Callable[[str], bool]) -> None:
        super().__init__(refuses)
        self._second, self._taken, self._number = 0, 0, 0

    @on("POST", "/")
    def put_record_batch(self, request: Request) -> Answer:
        if request.headers.get("x-amz-target") != "Firehose_20150804.PutRecordBatch":
            return self.unknown(request)
        if request.headers.get("content-type") != "application/x-amz-json-1.1":
            return self.error(404, "UnknownOperationException")
        records = request.object.get("Records")
        if not request.object.get("DeliveryStreamName"):
            return self.error(400, "ValidationException", "DeliveryStreamName must not be null")
        if not isinstance(records, list) or not 1 <= len(records) <= MOST:
            return self.error(400, "ValidationException", f"1 to {MOST} records are taken")
        datas: list[Any] = [record.get("Data") if isinstance(record, dict) else None for record in records]
        if any(message_in(data) is None for data in datas):
            return self.error(400, "SerializationException", "Data is not base64 of JSON")
        sizes = [len(b64decode(data)) for data in datas]
        if max(sizes) > LONGEST or sum(sizes) > MOST_BYTES:
            return self.error(400, "InvalidArgumentException", "A record or the request is too large")
        rows = [self._put(data, size, request.at) for data, size in zip(datas, sizes, strict=True)]
        failed = sum("ErrorCode" in row for row in rows)
        return Answer(200, {"FailedPutCount": failed, "Encrypted": False, "RequestResponses": rows})

    def _put(self, data: str, size: int, at: float) -> dict[str, Any]:
        if self._second != int(at):
            self._second, self._taken = int(at), 0
        if self._taken + size > PER_SECOND:
            return {"ErrorCode": "ServiceUnavailableException", "ErrorMessage": "Slow down."}
        self._taken += size
        self._number += 1
        self.keep(message_in(data), at)
        return {"RecordId": f"record-{self._number}"}
