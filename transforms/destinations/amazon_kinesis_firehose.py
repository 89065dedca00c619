"""Amazon Data Firehose: every call as its neutral message, a line of JSON each, in the files that Firehose writes."""

from base64 import b64encode
from collections.abc import Sequence
from typing import Annotated

from msgspec import Meta

from transforms.destinations.auth import SigV4
from transforms.destinations.aws import Access, Aws, by_place
from transforms.destinations.contract import Batch, Limit, Outcome, Reply, Request, refused
from transforms.destinations.plain import Item


class AmazonKinesisFirehose(Aws):
    slug = "amazon-kinesis-firehose"
    name = "Amazon Data Firehose"
    page = "https://docs.aws.amazon.com/firehose/latest/APIReference/API_PutRecordBatch.html"
    remark = "messages may come twice, and not in order: readers go by messageId and timestamp"
    aliases = ("amazon-data-firehose",)
    base = "https://firehose.{region}.amazonaws.com"
    auth = SigV4("firehose")
    # In most regions; some take more.
    limits = (Limit(1_000, source="https://docs.aws.amazon.com/firehose/latest/dev/limits.html"),)
    batch = Batch(500, 4 * 2**20)

    class Settings(Access, frozen=True, kw_only=True, forbid_unknown_fields=True):
        """The stream, and the key of a user who may firehose:PutRecordBatch to it."""

        stream: Annotated[
            str,
            Meta(pattern=r"^[a-zA-Z0-9_.-]{1,64}$", description="Name of the stream; its source is Direct PUT."),
        ]

    def identify(self, told: Sequence[Item]) -> Request:
        """Records of a file stand side by side: each ends its own line."""
        records = [{"Data": b64encode(self.encoded(each) + b"\n").decode()} for each in told]
        body = {"DeliveryStreamName": self.settings.stream, "Records": records}
        return self.call("Firehose_20150804.PutRecordBatch", body)

    track = group = delete = identify

    def read(self, reply: Reply, items: Sequence[Item]) -> Outcome | list[Outcome]:
        return by_place(reply, "RequestResponses", "RecordId", items) if reply.ok else refused(reply)
