"""Airship: attributes of named users, custom events. https://docs.airship.com/api/ua/"""

from sandbox.plain import PlainVendor, Takes, bearer

VERSION = {"accept": "application/vnd.urbanairship+json; version=3"}


class Airship(PlainVendor):
    slug = "airship"
    hosts = (r"go\.urbanairship\.com", r"go\.airship\.eu")
    max_bytes = 5_242_880
    secret_in = bearer()
    takes = (
        Takes("POST", "/api/named_users/{named_user_id}/attributes", ids={"named_user_id": str}, traits="attributes",
              pairs=("key", "value"), headers=VERSION, answer={"ok": True}),
        Takes("POST", "/api/custom-events", ids={"user.named_user_id": str}, event="body.name",
              traits="body.properties", needs={"occurred": str}, headers=VERSION, most=100, answer={"ok": True}),
    )  # fmt: skip
