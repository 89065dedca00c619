"""Zapier: catch hooks, whose URLs are the secrets, take any JSON. https://help.zapier.com/"""

import re
from typing import Any

from sandbox.vendor import Answer, Request, Vendor


class Zapier(Vendor):
    slug = "zapier"
    hosts = (r"hooks\.zapier\.com",)

    @classmethod
    def credential(cls, request: Request) -> str | None:
        found = re.fullmatch("/hooks/catch/(.+?)/?", request.path)
        return found[1] if found else None

    def respond(self, request: Request) -> Answer:
        told: dict[str, Any] = request.object
        if request.method != "POST" or not told:
            return Answer(400, {"status": "error"})
        ids = {name: str(told[name]) for name in ("userId", "anonymousId") if told.get(name)}
        self.events.add(request.at, str(told.get("event") or told.get("type")), ids, told)
        return Answer(200, {"status": "success", "id": f"message-{len(self.events)}"})
