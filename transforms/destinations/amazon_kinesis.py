"""Amazon Kinesis Data Streams: every call as its neutral message, a record each.

Records are keyed by the identifier, so that one person's are on one shard. Kinesis does not keep the order of a request
whose records fail in part; readers go by `timestamp`.
"""

from base64 import b64encode
from collections.abc import Sequence
from typing import Annotated

from msgspec import Meta

from transforms.destinations.auth import SigV4
from transforms.destinations.aws import Access, Aws, by_place
from transforms.destinations.contract import Batch, Limit, Outcome, Reply, Request, refused
from transforms.destinations.names import cut
from transforms.destinations.plain import Item

_LONGEST_KEY = 256  # characters


class AmazonKinesis(Aws):
    slug = "amazon-kinesis"
    name = "Amazon Kinesis"
    page = "https://docs.aws.amazon.com/kinesis/latest/APIReference/API_PutRecords.html"
    remark = "messages may come twice, and not in order: readers go by messageId and timestamp"
    base = "https://kinesis.{region}.amazonaws.com"
    auth = SigV4("kinesis")
    # Of one shard; a stream with more takes more.
    limits = (
        Limit(
            1_000, source="https://docs.aws.amazon.com/streams/latest/dev/service-sizes-and-limits.html", unit="objects"
        ),
    )
    # Bytes: what accounts that Amazon has not raised take; base64 makes the body longer than what is counted.
    batch = Batch(500, 5 * 2**20)

    class Settings(Access, frozen=True, kw_only=True, forbid_unknown_fields=True):
        """The stream, and the key of a user who may kinesis:PutRecords to it."""

        stream: Annotated[str, Meta(pattern=r"^[a-zA-Z0-9_.-]{1,128}$", description="Name of the stream.")]

    def identify(self, told: Sequence[Item]) -> Request:
        records = [{"Data": b64encode(self.encoded(each)).decode(), "PartitionKey": _key(each)} for each in told]
        return self.call("Kinesis_20131202.PutRecords", {"StreamName": self.settings.stream, "Records": records})

    track = group = delete = identify

    def read(self, reply: Reply, items: Sequence[Item]) -> Outcome | list[Outcome]:
        return by_place(reply, "Records", "SequenceNumber", items) if reply.ok else refused(reply)


def _key(told: Item) -> str:
    return cut(told.call.identifier.id, told.call.identifier.id, _LONGEST_KEY)
