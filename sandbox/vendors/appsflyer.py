"""AppsFlyer: in-app events. https://dev.appsflyer.com/hc/reference/s2s-events-api3-post"""

from sandbox.plain import PlainVendor, Takes, header


class AppsFlyer(PlainVendor):
    slug = "appsflyer"
    hosts = (r"api3\.appsflyer\.com",)
    secret_in = header("authentication")
    takes = (
        Takes(
            "POST", "/inappevent/{app_id}", ids={"appsflyer_id": str}, event="eventName", traits="eventValue",
            needs={"eventTime": str}, answer="ok",
        ),
    )  # fmt: skip
