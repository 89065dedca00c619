"""Blueshift: customers and events. https://developer.blueshift.com/reference"""

from sandbox.plain import PlainVendor, Takes, basic_user
from sandbox.vendor import Answer

NAMES = {"customer_id": str, "email": str}


class Blueshift(PlainVendor):
    slug = "blueshift"
    hosts = (r"api\.(eu\.)?getblueshift\.com",)
    secret_in = basic_user()
    takes = (
        Takes("POST", "/api/v1/customers", ids=NAMES, traits="*"),
        Takes("POST", "/api/v1/event", ids=NAMES, event="event", traits="*"),
    )

    def invalid(self, words: str) -> Answer:
        return Answer(422, {"errors": words})
