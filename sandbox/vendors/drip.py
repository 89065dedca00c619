"""Drip: batches of subscribers and of events. https://developer.drip.com/"""

from sandbox.plain import PlainVendor, Takes, basic_user


class Drip(PlainVendor):
    slug = "drip"
    hosts = (r"api\.getdrip\.com",)
    secret_in = basic_user()
    takes = (
        Takes("POST", "/v2/{account}/subscribers/batches", ids={"email": str, "id": str}, rows="batches.0.subscribers",
              traits="custom_fields", status=201, answer={}),
        Takes("POST", "/v2/{account}/events/batches", ids={"email": str, "id": str}, rows="batches.0.events",
              event="action", traits="properties", status=201, answer={}),
    )  # fmt: skip
