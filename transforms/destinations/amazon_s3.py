"""Amazon S3: the neutral messages of many calls as one object, a line of JSON each."""

from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Annotated, ClassVar

from msgspec import Meta

from transforms.destinations.auth import SigV4
from transforms.destinations.aws import Access, Aws
from transforms.destinations.contract import Batch, Form, Request
from transforms.destinations.plain import Item


class AmazonS3(Aws):
    slug = "amazon-s3"
    name = "Amazon S3"
    page = "https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutObject.html"
    remark = "objects <prefix>/<day>/<message id>.jsonl; messages may come twice: readers go by messageId"
    base = "https://{bucket}.s3.{region}.amazonaws.com"
    auth = SigV4("s3")
    batch = Batch(10_000, 5_000_000)
    # So that changes that come one by one make no object each.
    flush_every: ClassVar[Mapping[Form, float]] = {"identify": 60.0, "track": 60.0}

    class Settings(Access, frozen=True, kw_only=True, forbid_unknown_fields=True):
        """The bucket, and the key of a user who may s3:PutObject under the prefix."""

        # Without dots, which do not go with the certificate of the host.
        bucket: Annotated[
            str, Meta(pattern=r"^[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$", description="Name of the bucket, without dots.")
        ]
        # Only what stands in a path as it is, so that the signature is of what is sent.
        prefix: Annotated[
            str,
            Meta(
                pattern=r"^[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*$",
                max_length=512,
                description="What the names of the objects begin with.",
            ),
        ] = "profilecast"

    def identify(self, told: Sequence[Item]) -> Request:
        """The name is of the first message: a batch that is sent again takes the place of itself."""
        first = told[0]
        content = b"".join(self.encoded(each) + b"\n" for each in told)
        headers = {"content-type": "application/x-ndjson", "x-amz-content-sha256": sha256(content).hexdigest()}
        path = f"/{self.settings.prefix}/{first.time[:10]}/{first.message_id}.jsonl"
        return self.ask("PUT", path, content=content, headers=headers)

    track = group = delete = identify
