"""Mixpanel: updates of profiles, and the import of events. https://developer.mixpanel.com/reference/ingestion-api"""

from dataclasses import replace
from typing import Any

import msgspec

from sandbox.plain import PlainVendor, Takes
from sandbox.vendor import Answer, Request

MOST = 2_000
STORED = {"code": 200, "num_records_imported": 1, "status": "OK"}
NEEDS = {"properties.time": int, "properties.$insert_id": str}
UPDATE = {"$distinct_id": str}


class Mixpanel(PlainVendor):
    slug = "mixpanel"
    hosts = (r"api(-eu|-in)?\.mixpanel\.com",)
    takes = (
        Takes("POST", "/set", ids=UPDATE, rows="rows", traits="$set", needs={"$token": str}, most=MOST),
        Takes(
            "POST", "/set-group", ids={"$group_id": str}, rows="rows", traits="$set",
            needs={"$token": str, "$group_key": str}, most=MOST,
        ),
        Takes("POST", "/delete", ids=UPDATE, rows="rows", needs={"$token": str}, deletes=True),
        Takes(
            "POST", "/import", ids={"properties.distinct_id": str}, rows="rows", event="event", traits="properties",
            needs=NEEDS, most=MOST, answer=STORED,
        ),
    )  # fmt: skip

    @classmethod
    def credential(cls, request: Request) -> str | None:
        return request.authorization("basic")

    def respond(self, request: Request) -> Answer:
        rows = [row for row in request.json if isinstance(row, dict)] if isinstance(request.json, list) else []
        if request.path == "/engage":
            return self._engage(request, rows)
        if request.path == "/groups":
            return self._groups(request, rows)
        if request.path != "/import":
            return self.unknown(request)
        failed = [self._failure(row["properties"]) for row in rows if self._bad(row)]
        good = [row for row in rows if not self._bad(row)]
        answer = self._pass(request, "/import", good) if good or not failed else Answer(400, {})
        return Answer(400, {**answer.json, "failed_records": failed}) if failed else answer

    def _engage(self, request: Request, rows: list[dict[str, Any]]) -> Answer:
        good = [row for row in rows if not self.refused(row.get("$distinct_id"))]
        for row in good:
            answer = self._pass(request, "/delete" if "$delete" in row else "/set", [row])
            if answer.status != 200:
                return answer
        return Answer(200, {"status": 1, "error": None} if good else {"status": 0, "error": "no valid profile"})

    def _groups(self, request: Request, rows: list[dict[str, Any]]) -> Answer:
        good = [row for row in rows if not self.refused(row.get("$group_id"))]
        answer = self._pass(request, "/set-group", good) if good else Answer(200)
        if answer.status != 200:
            return answer
        return Answer(200, {"status": 1, "error": None} if good else {"status": 0, "error": "no valid group"})

    def _pass(self, request: Request, path: str, rows: list[dict[str, Any]]) -> Answer:
        return super().respond(replace(request, target=path, body=msgspec.json.encode({"rows": rows})))

    def _bad(self, row: dict[str, Any]) -> bool:
        properties = row.get("properties")
        return isinstance(properties, dict) and self.refused(properties.get("distinct_id"))

    def _failure(self, properties: dict[str, Any]) -> dict[str, Any]:
        return {"insert_id": properties.get("$insert_id"), "field": "properties.distinct_id", "message": "is invalid"}
