"""Totango: the pixel, which answers the same to all, and keeps what is right. https://support.totango.com/"""

from sandbox.plain import PlainVendor, in_query
from sandbox.vendor import Answer, Request


class Totango(PlainVendor):
    slug = "totango"
    hosts = (r"sdr\.totango\.com",)
    takes = ()
    secret_in = in_query("sdr_s")

    def respond(self, request: Request) -> Answer:
        if (request.method, request.path) != ("GET", "/pixel.gif/"):
            return self.unknown(request)
        told, user = request.query, request.query.get("sdr_u", "")
        if told.get("sdr_o") and user and not self.refused(user):
            ids = {"user": user, "account": told["sdr_o"]}
            if "sdr_a" in told:
                self.events.add(request.at, told["sdr_a"], ids, {"module": told.get("sdr_m")})
            else:
                person = self.people.find_any({"user": user}) or self.people.add()
                self.people.identify(person, "user", user)
                own = {name[6:]: value for name, value in told.items() if name.startswith("sdr_u.")}
                self.people.tell(person, request.at, own)
        return Answer(200)
