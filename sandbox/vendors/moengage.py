"""MoEngage: customers and events of an app. https://developers.moengage.com/"""

from sandbox.plain import PlainVendor, Takes
from sandbox.vendor import Cap, Request


class MoEngage(PlainVendor):
    slug = "moengage"
    hosts = (r"api-0[1-5]\.moengage\.com",)
    caps = (Cap(10_000, 60.0, "/v1/customer"), Cap(30_000, 60.0, "/v1/event"))
    takes = (
        Takes("POST", "/v1/customer", ids={"customer_id": str}, traits="attributes", needs={"type": str}),
        Takes(
            "POST", "/v1/event", ids={"customer_id": str}, event="actions.0.action", traits="actions.0.attributes",
            needs={"type": str, "actions.0.current_time": int},
        ),
    )  # fmt: skip

    @classmethod
    def credential(cls, request: Request) -> str | None:
        return request.authorization("basic")

    def place(self, request: Request) -> str:
        return request.path.rpartition("/")[0]  # the app's id is at its end

    def endpoint(self, request: Request) -> str:
        return self.place(request)
