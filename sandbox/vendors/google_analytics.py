"""Google Analytics 4: the Measurement Protocol, which answers 204 to everything, and keeps what is right.

https://developers.google.com/analytics/devguides/collection/protocol/ga4
"""

from sandbox.plain import PlainVendor, Takes, in_query
from sandbox.vendor import Answer, Request


class GoogleAnalytics(PlainVendor):
    slug = "google-analytics"
    hosts = (r"www\.google-analytics\.com",)
    max_bytes = 130_000
    secret_in = in_query("api_secret")
    ids = {"client_id": str, "user_id": str}
    person = Takes("POST", "/mp/collect", ids=ids, traits="user_properties", needs={"client_id": str}, status=204)
    event = Takes(
        "POST", "/mp/collect", ids=ids, event="events.0.name", traits="events.0.params", needs={"client_id": str},
        status=204,
    )  # fmt: skip

    def respond(self, request: Request) -> Answer:
        if (request.method, request.path) != ("POST", "/mp/collect"):
            return self.unknown(request)
        self._take(self.person if "user_properties" in request.object else self.event, request, {})
        return Answer(204)
