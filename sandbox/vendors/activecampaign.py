"""ActiveCampaign: contacts, fields, events. https://developers.activecampaign.com/reference/overview"""

from collections.abc import Callable
from typing import Any

from sandbox.plain import PlainVendor, Takes, header, in_body
from sandbox.vendor import Answer, Cap, Request

COLLECTIONS = {"fields": "field", "eventTrackingEvents": "eventTrackingEvent", "fieldRels": "fieldRel"}


class ActiveCampaign(PlainVendor):
    slug = "activecampaign"
    hosts = (r"[\w-]+\.api-\w+\.com", r"trackcmp\.net")
    caps = (Cap(5),)
    takes = (
        Takes("POST", "/api/3/contact/sync", ids={"contact.email": str}, traits="contact.fieldValues",
              pairs=("field", "value")),
        Takes("POST", "/event", ids={"visit.email": str}, event="event", traits="eventdata", needs={"actid": str},
              answer={"success": 1, "message": "Event spawned"}),
    )  # fmt: skip

    def __init__(self, refuses: Callable[[str], bool]) -> None:
        super().__init__(refuses)
        self._kept: dict[str, list[dict[str, Any]]] = {name: [] for name in COLLECTIONS}

    @classmethod
    def credential(cls, request: Request) -> str | None:
        return (in_body("key") if request.path == "/event" else header("api-token"))(request)

    def respond(self, request: Request) -> Answer:
        kind = request.path.removeprefix("/api/3/")
        if kind not in COLLECTIONS:
            return super().respond(request)
        kept = self._kept[kind]
        if request.method == "GET":
            start, most = int(request.query.get("offset", "0")), int(request.query.get("limit", "20"))
            return Answer(200, {kind: kept[start : start + most]})
        told = request.object.get(COLLECTIONS[kind])
        if not isinstance(told, dict):
            return self.invalid(f"`{COLLECTIONS[kind]}` must be an object")
        kept.append({**told, "id": str(len(kept) + 1)})
        return Answer(201, {COLLECTIONS[kind]: kept[-1]})
