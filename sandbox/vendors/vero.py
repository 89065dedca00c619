"""Vero: users and events, each in a request of its own. https://developers.getvero.com/"""

from sandbox.plain import PlainVendor, Takes, in_body


class Vero(PlainVendor):
    slug = "vero"
    hosts = (r"api\.getvero\.com",)
    secret_in = in_body("auth_token")
    takes = (
        Takes("POST", "/api/v2/users/track", ids={"id": str, "email": str}, traits="data"),
        Takes(
            "POST", "/api/v2/events/track", ids={"identity.id": str, "identity.email": str}, event="event_name",
            traits="data",
        ),
    )  # fmt: skip
