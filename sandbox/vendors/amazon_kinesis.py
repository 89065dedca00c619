"""Amazon Kinesis Data Streams: PutRecords of the API of 2013-12-02, and shards that are full at times."""

from collections import Counter
from collections.abc import Callable
from typing import Any

from sandbox.aws import AwsVendor, message_in
from sandbox.vendor import Answer, Request, on

SHARDS = 4
RECORDS, BYTES = 1_000, 2**20  # that a shard takes in a second
MOST, MOST_BYTES = 500, 5 * 2**20  # of a request; data and keys


class AmazonKinesis(AwsVendor):
    slug = "amazon-kinesis"
    service = "kinesis"
    hosts = (r"kinesis\.[a-z0-9-]+\.amazonaws\.com",)

    def __init__(self, refuses: Callable[[str], bool]) -> None:
        super().__init__(refuses)
        self._second = 0
        self._taken: Counter[tuple[int, str]] = Counter()  # of this second, by shard
        self._number = 0

    @on("POST", "/")
    def put_records(self, request: Request) -> Answer:
        if request.headers.get("x-amz-target") != "Kinesis_20131202.PutRecords":
            return self.unknown(request)
        if request.headers.get("content-type") != "application/x-amz-json-1.1":
            return self.error(404, "UnknownOperationException")
        records = request.object.get("Records")
        if wrong := _wrong(request.object.get("StreamName"), records):
            return self.error(400, "ValidationException", wrong)
        assert isinstance(records, list)
        if sum(_size(record) for record in records) > MOST_BYTES:
            return self.error(400, "InvalidArgumentException", "The request is larger than 5 MB")
        rows = [self._put(record, request.at) for record in records]
        failed = sum("ErrorCode" in row for row in rows)
        return Answer(200, {"FailedRecordCount": failed, "Records": rows})

    def _put(self, record: dict[str, Any], at: float) -> dict[str, Any]:
        shard = sum(record["PartitionKey"].encode()) % SHARDS
        if self._second != int(at):
            self._second, self._taken = int(at), Counter()
        size = _size(record)
        if self._taken[shard, "records"] >= RECORDS or self._taken[shard, "bytes"] + size > BYTES:
            return {"ErrorCode": "ProvisionedThroughputExceededException", "ErrorMessage": "Rate exceeded for shard"}
        self._taken[shard, "records"] += 1
        self._taken[shard, "bytes"] += size
        self._number += 1
        self.keep(message_in(record["Data"]), at)
        return {"SequenceNumber": f"{self._number:056}", "ShardId": f"shardId-{shard:012}"}


def _wrong(stream: Any, records: Any) -> str:
    """What is wrong with a request; "" if nothing."""
    if not isinstance(stream, str) or not stream:
        return "StreamName must not be null"
    if not isinstance(records, list) or not 1 <= len(records) <= MOST:
        return f"1 to {MOST} records are taken"
    for position, record in enumerate(records):
        key = record.get("PartitionKey") if isinstance(record, dict) else None
        if not isinstance(key, str) or not 1 <= len(key) <= 256:
            return f"records.{position}.partitionKey must have 1 to 256 characters"
        if message_in(record.get("Data")) is None:
            return f"records.{position}.data is not base64 of JSON"
    return ""


def _size(record: dict[str, Any]) -> int:
    return len(record["Data"]) * 3 // 4 + len(record["PartitionKey"].encode())
