"""Amazon Lambda: a function is called with the neutral message of every call, and has to end before it counts."""

from collections.abc import Sequence
from typing import Annotated

from msgspec import Meta

from transforms.destinations.auth import SigV4
from transforms.destinations.aws import Access, Aws
from transforms.destinations.contract import Later, Outcome, Reply, Request
from transforms.destinations.plain import Item


class AmazonLambda(Aws):
    slug = "amazon-lambda"
    name = "Amazon Lambda"
    page = "https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html"
    remark = "one invocation per message; one that ends in an error is repeated"
    aliases = ("aws-lambda",)
    base = "https://lambda.{region}.amazonaws.com/2015-03-31/functions/{function}/invocations"
    auth = SigV4("lambda")
    # Amazon limits how many run at once: a new account has 1,000 of all its functions, or fewer.
    concurrency = 50

    class Settings(Access, frozen=True, kw_only=True, forbid_unknown_fields=True):
        """The function, and the key of a user who may lambda:InvokeFunction."""

        function: Annotated[str, Meta(pattern=r"^[a-zA-Z0-9_-]{1,64}$", description="Name of the function, no ARN.")]

    def identify(self, told: Item) -> Request:
        """The type of invocation that waits for the function's end: the other one answers before it begins."""
        return self.post("", self.message(told.call), headers={"x-amz-invocation-type": "RequestResponse"})

    track = group = delete = identify

    def read(self, reply: Reply, items: Sequence[Item]) -> Outcome | Sequence[Outcome]:
        """A function that raises is a good answer with a header. It may be the moment's, so it is not final."""
        if reply.ok and (kind := reply.headers.get("x-amz-function-error")):
            return Later(words=f"{kind}: {reply.words()}")
        return super().read(reply, items)
