"""DoubleClick Floodlight: the tag. It takes whatever it is sent; only this one says what is wrong.

https://support.google.com/campaignmanager/answer/2823450
"""

import re
from typing import Any
from urllib.parse import unquote

from sandbox.vendor import Answer, Request, Vendor

PREFIX = "/ddm/activity/"
NEEDED = ("src", "type", "cat", "dc_rdid", "ord")
VARIABLE = re.compile("u([1-9][0-9]?|100)")
FORBIDDEN = re.compile(r'["<>#]')


class DoubleclickFloodlight(Vendor):
    """An advertiser; there are no credentials."""

    slug = "doubleclick-floodlight"
    hosts = (r"ad\.doubleclick\.net",)

    @classmethod
    def credential(cls, request: Request) -> str | None:
        """The advertiser stands for one."""
        return _pairs(request).get("src")

    def respond(self, request: Request) -> Answer:
        pairs = _pairs(request)
        if request.method != "GET" or not request.path.startswith(PREFIX):
            return Answer(404)
        missing = [name for name in NEEDED if not pairs.get(name)]
        if missing or not request.headers.get("user-agent", "").startswith("Mozilla/"):
            return Answer(400, {"message": f"missing: {missing or 'the browser of the device'}"})
        variables = {name: value for name, value in pairs.items() if VARIABLE.fullmatch(name)}
        if any(FORBIDDEN.search(value) for value in variables.values()) or "?" in request.target:
            return Answer(400, {"message": "a custom variable has a character that is not allowed"})
        told: dict[str, Any] = {**variables, "dc_lat": pairs.get("dc_lat")}
        activity = f"{pairs['type']}/{pairs['cat']}"
        self.events.add(request.at, activity, {"dc_rdid": pairs["dc_rdid"]}, told, key=pairs["ord"])
        return Answer(200)


def _pairs(request: Request) -> dict[str, str]:
    path = request.path.removeprefix(PREFIX) if request.path.startswith(PREFIX) else ""
    return {name: unquote(value) for name, _, value in (each.partition("=") for each in path.split(";")) if name}
