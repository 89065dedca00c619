"""Appcues: activities of users, profiles and events. https://docs.appcues.com/dev-api-data/public-api-overview"""

from sandbox.plain import PlainVendor, Takes
from sandbox.vendor import Request

PATH = "/v1/accounts/{account}/users/{user_id}/activity"


class Appcues(PlainVendor):
    slug = "appcues"
    hosts = (r"api\.appcues\.com",)
    takes = (
        Takes("POST", PATH, ids={"user_id": str}, traits="profile_update", needs={"request_id": str}),
        Takes(
            "POST", f"{PATH}#events", ids={"user_id": str}, event="events.0.name", traits="events.0.attributes",
            needs={"request_id": str, "events.0.timestamp": int},
        ),
    )  # fmt: skip

    @classmethod
    def credential(cls, request: Request) -> str | None:
        """There is none: whoever knows the account's id may write."""
        return request.path.split("/")[3] if request.path.startswith("/v1/accounts/") else ""

    @classmethod
    def secret(cls, request: Request, settings: object) -> str | None:
        return None

    def place(self, request: Request) -> str:
        """One URL for both: an activity with events has them in its body."""
        return f"{request.path}#events" if "events" in request.object else request.path
