"""Amplitude: Identify and HTTP V2. https://amplitude.com/docs/apis/analytics/http-v2"""

from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs

import msgspec

from sandbox.plain import PlainVendor, Takes, in_body
from sandbox.vendor import Answer, Request

IDS = {"user_id": str, "device_id": str}
PROPERTIES = {"/identify": "user_properties", "/groupidentify": "group_properties"}  # by path


class Amplitude(PlainVendor):
    slug = "amplitude"
    hosts = (r"api2\.amplitude\.com", r"api\.eu\.amplitude\.com")
    max_bytes = 1_000_000
    secret_in = in_body("api_key")
    takes = (
        Takes("POST", "/set-group", ids={"group_value": str}, rows="rows", traits="set", needs={"group_type": str}),
        Takes("POST", "/set", ids=IDS, rows="rows", traits="set", most=1_024),
        Takes(
            "POST", "/2/httpapi", ids=IDS, rows="events", event="event_type", traits="event_properties",
            needs={"insert_id": str, "time": int}, most=2_000, answer={"code": 200},
        ),
    )  # fmt: skip

    def respond(self, request: Request) -> Answer:
        if request.path in PROPERTIES and request.method == "POST":
            return self._identify(request)
        if request.path != "/2/httpapi":
            return self.unknown(request)
        events = request.object.get("events")
        bad: dict[str, list[int]] = {}
        for place, event in enumerate(events if isinstance(events, list) else []):
            for name in IDS:
                if isinstance(event, dict) and self.refused(event.get(name)):
                    bad.setdefault(name, []).append(place)
        if bad:
            return Answer(400, {"code": 400, "error": "Invalid events", "events_with_invalid_fields": bad})
        return super().respond(request)

    def _identify(self, request: Request) -> Answer:
        """A form only: JSON is not taken."""
        if not request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
            return self.invalid("a form is needed")
        form = parse_qs(request.body.decode())
        try:
            told = msgspec.json.decode(form.get("identification", [""])[0], type=list[dict[str, Any]])
        except (msgspec.DecodeError, UnicodeDecodeError):
            return self.invalid("`identification` must be a list of objects")
        rows = []
        for each in told:
            changes = each.get(PROPERTIES[request.path], {})
            if any(not name.startswith("$") for name in changes):
                return self.invalid("operations are needed")
            removed = dict.fromkeys(changes.get("$unset", {}))
            rows.append({**each, "set": {**changes.get("$set", {}), **removed}})
        body = msgspec.json.encode({"rows": rows})
        headers = {**request.headers, "content-type": "application/json"}
        target = "/set" if request.path == "/identify" else "/set-group"
        return super().respond(replace(request, target=target, body=body, headers=headers))

    def invalid(self, words: str) -> Answer:
        return Answer(400, {"code": 400, "error": words})

    def unauthorized(self) -> Answer:
        return Answer(400, {"code": 400, "error": "Invalid API key"})
