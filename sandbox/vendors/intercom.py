"""Intercom: events. https://developers.intercom.com/docs/references/rest-api/api.intercom.io/data-events"""

from sandbox.plain import PlainVendor, Takes, bearer
from sandbox.vendor import Answer, Cap


class Intercom(PlainVendor):
    slug = "intercom"
    hosts = (r"api(\.eu|\.au)?\.intercom\.io",)
    caps = (Cap(1_666, 10.0),)
    secret_in = bearer()
    takes = (
        Takes(
            "POST", "/events", ids={"user_id": str, "email": str, "id": str}, traits="metadata", event="event_name",
            needs={"created_at": int}, headers={"intercom-version": "2.16"}, status=202,
        ),
    )  # fmt: skip

    def invalid(self, words: str) -> Answer:
        return Answer(400, {"type": "error.list", "errors": [{"code": "parameter_invalid", "message": words}]})

    def unauthorized(self) -> Answer:
        return Answer(
            401, {"type": "error.list", "errors": [{"code": "unauthorized", "message": "Access Token Invalid"}]}
        )
