"""OneSignal: users with tags, custom events. https://documentation.onesignal.com/reference/rest-api-overview"""

import re
from dataclasses import replace
from urllib.parse import unquote

import msgspec

from sandbox.plain import PlainVendor, Takes, header
from sandbox.vendor import Answer, Request


class OneSignal(PlainVendor):
    slug = "onesignal"
    hosts = (r"(api\.)?onesignal\.com",)
    max_bytes = 1_000_000
    secret_in = header("authorization", "Key ")
    takes = (
        Takes("POST", "/users", ids={"identity.external_id": str}, traits="properties.tags", status=202, answer={}),
        Takes(
            "POST", "/custom_events", ids={"external_id": str}, rows="events", event="name", traits="properties",
            needs={"idempotency_key": str, "timestamp": str}, status=202,
        ),
    )  # fmt: skip

    def place(self, request: Request) -> str:
        return re.sub("^/apps/[^/]+", "", request.path)

    def respond(self, request: Request) -> Answer:
        place = self.place(request)
        if request.method == "DELETE" and place.startswith("/users/by/external_id/"):
            person = self.people.find_any({"external_id": unquote(place.rpartition("/")[2])})
            if person:
                self.people.forget(person)
            return Answer(202 if person else 404, {})
        if (request.method, place) == ("POST", "/custom_events"):
            return self._events(request)
        return super().respond(request)

    def _events(self, request: Request) -> Answer:
        """Events that are refused are named by their user; the others are taken."""
        rows = request.object.get("events")
        known = [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
        bad = [str(row.get("external_id")) for row in known if self.refused(str(row.get("external_id")))]
        good = [row for row in known if str(row.get("external_id")) not in bad]
        if good or not bad:
            answer = super().respond(replace(request, body=msgspec.json.encode({"events": good})))
            if answer.status != 202:
                return answer
        errors = [{"event_user_id": who, "error": "does not resolve to a user"} for who in bad]
        return Answer(202, {"errors": errors})
