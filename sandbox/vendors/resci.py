"""Retention Science: people and events. From integrations that partners wrote; the vendor's own pages are gone."""

from sandbox.plain import PlainVendor, Takes, header
from sandbox.vendor import Answer

IDS = {"userId": str, "anonymousId": str, "traits.email": str}


class ReSci(PlainVendor):
    slug = "resci"
    hosts = (r"events\.retentionscience\.com",)
    secret_in = header("authorization", "ApiKey ")
    takes = (
        Takes("POST", "/v2/identify", ids=IDS, traits="traits"),
        Takes("POST", "/v2/track", ids=IDS, event="event", traits="properties", needs={"traits": dict}),
    )

    def unauthorized(self) -> Answer:
        return Answer(401, {"message": "Not authenticated"})
