"""Delighted: people, none of whom is to be sent a survey. https://app.delighted.com/docs/api"""

from sandbox.plain import PlainVendor, Takes, basic_user
from sandbox.vendor import Answer, Request


class Delighted(PlainVendor):
    slug = "delighted"
    hosts = (r"api\.delighted\.com",)
    secret_in = basic_user()
    takes = (
        Takes("POST", "/v1/people.json", ids={"email": str, "phone_number": str}, traits="properties",
              needs={"send": bool}, status=201, answer={}),
    )  # fmt: skip

    def respond(self, request: Request) -> Answer:
        if request.object.get("send") is not False:
            return self.invalid("a survey would be sent")
        return super().respond(request)
