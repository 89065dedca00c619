"""Customer.io: batches of the Track API, version 2. https://docs.customer.io/integrations/api/track/"""

from dataclasses import replace
from typing import Any

import msgspec

from sandbox.plain import PlainVendor, Takes
from sandbox.vendor import Answer, Cap, Request

IDS = {f"identifiers.{name}": str for name in ("id", "email", "phone", "cio_id")}
OBJECT, OBJECT_TYPE = {"identifiers.object_id": str}, "identifiers.object_type_id"
ITEM = 32_000


class CustomerIo(PlainVendor):
    slug = "customerio"
    hosts = (r"track(-eu)?\.customer\.io",)
    caps = (Cap(1_000),)
    max_bytes = 499_999
    takes = (
        Takes("POST", "/identify", ids=IDS, rows="batch", traits="attributes"),
        Takes("POST", "/object", ids=OBJECT, rows="batch", traits="attributes", needs={OBJECT_TYPE: str}),
        Takes("POST", "/event", ids=IDS, rows="batch", traits="attributes", event="name"),
        Takes("POST", "/delete", ids=IDS, rows="batch", deletes=True),
    )

    @classmethod
    def credential(cls, request: Request) -> str | None:
        return request.authorization("basic")

    def respond(self, request: Request) -> Answer:
        """Each entity is taken or not, whatever becomes of the others."""
        if len(request.body) > self.max_bytes:
            return self.too_large()
        if (request.method, request.path) != ("POST", "/api/v2/batch"):
            return self.unknown(request)
        batch = request.object.get("batch")
        if not isinstance(batch, list) or not batch:
            return self.invalid("`batch` must be a list")
        errors = [
            {"batch_index": place, "reason": "invalid", "field": "", "message": words}
            for place, each in enumerate(batch)
            if (words := self._entity(request, each))
        ]
        return Answer(207, {"errors": errors}) if errors else Answer(200, {})

    def _entity(self, request: Request, entity: Any) -> str:
        """What is wrong with one; "" where it is taken."""
        if not isinstance(entity, dict) or entity.get("type") not in ("person", "object"):
            return "`type` must be person or object"
        identifiers = entity.get("identifiers")
        if entity["type"] == "object":
            return self._pass(request, "/object", entity)
        if not isinstance(identifiers, dict) or len(identifiers) != 1:
            return "exactly one identifier is needed"
        if len(msgspec.json.encode(entity)) > ITEM:
            return "more than 32 kB"
        return self._pass(request, f"/{entity.get('action')}", entity)

    def _pass(self, request: Request, target: str, entity: dict[str, Any]) -> str:
        body = msgspec.json.encode({"batch": [entity]})
        answer = super().respond(replace(request, target=target, body=body))
        return "" if answer.status == 200 else answer.json["errors"][0]["message"]

    def invalid(self, words: str) -> Answer:
        return Answer(400, {"errors": [{"reason": "invalid", "field": "", "message": words}]})

    def unauthorized(self) -> Answer:
        return Answer(401, {"meta": {"error": "Unauthorized request"}})

    def unknown(self, request: Request) -> Answer:
        return Answer(404, {"errors": [{"reason": "not_found", "message": "There is no such endpoint."}]})
