"""Google Cloud Pub/Sub: every call as its neutral message, published to a topic by a service account."""

from base64 import b64encode
from collections.abc import Sequence
from typing import Annotated

from msgspec import Meta, Struct

from transforms.destinations.auth import JwtBearer
from transforms.destinations.contract import Batch, Reply, Request, Secret, Verdict, by_status, retry_after
from transforms.destinations.messages import Messages
from transforms.destinations.plain import Item
from transforms.destinations.reading import part, word
from transforms.destinations.safety import check_texts

TOKENS = "https://oauth2.googleapis.com/token"
# Statuses of an error that are the set-up's: the topic is not there, or this account may not publish to it.
SETUP = ("NOT_FOUND", "PERMISSION_DENIED", "FAILED_PRECONDITION", "UNIMPLEMENTED")
MOMENT = ("ABORTED", "CANCELLED", "DEADLINE_EXCEEDED", "INTERNAL", "UNAVAILABLE")


class GoogleCloudPubSub(Messages):
    slug = "google-cloud-pubsub"
    name = "Google Cloud Pub/Sub"
    page = "https://cloud.google.com/pubsub/docs/reference/rest/v1/projects.topics/publish"
    remark = "messages may come twice, and not in order: subscribers go by messageId and timestamp"
    aliases = ("google-pubsub",)
    base = "https://pubsub.googleapis.com/v1/projects/{project}/topics/{topic}:publish"
    # Ten megabytes of a request, in which base64 makes four bytes of three.
    batch = Batch(1_000, 7_000_000)
    auth = JwtBearer(
        TOKENS, claims={"iss": "{client_email}", "scope": "https://www.googleapis.com/auth/pubsub", "aud": TOKENS}
    )

    class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
        """The topic, and a service account that has the role Pub/Sub Publisher for it."""

        project: Annotated[str, Meta(pattern=r"^[a-z][a-z0-9-]{4,28}[a-z0-9]$", description="ID of the project.")]
        topic: Annotated[
            str, Meta(pattern=r"^[A-Za-z][A-Za-z0-9._~-]{2,254}$", description="Name of the topic, without its path.")
        ]
        client_email: Annotated[
            str,
            Meta(
                pattern=r"^[^@\s]+@[^@\s]+$",
                description="The service account, client_email of its key file, such as a@b.iam.gserviceaccount.com.",
            ),
        ]
        private_key: Annotated[
            Secret,
            Meta(description="Of the same file: private_key, as it stands there, on one line with every \\n in it."),
        ]

        def __post_init__(self) -> None:
            check_texts(self)

    def identify(self, told: Sequence[Item]) -> Request:
        """Stored all together or not at all."""
        messages = [{"data": b64encode(self.encoded(each)).decode()} for each in told]
        return self.post("", {"messages": messages})

    track = group = delete = identify

    def classify(self, request: Request, reply: Reply, items: int) -> Verdict:
        status = word(part(reply.object, "error"), "status")
        if status in SETUP:
            return Verdict("stop", words=reply.words())
        if status in MOMENT:
            return Verdict("transient", retry_after(reply), reply.words())
        return by_status(reply, items)
