"""A webhook receiver: whatever host no other vendor serves. It takes the vendor-neutral messages."""

import hmac
import re
from typing import Any

from sandbox.vendor import JSON_TYPE, Answer, Request, Vendor

METHODS = ("POST", "PUT", "PATCH", "DELETE")
TYPES = ("identify", "track", "group", "delete")


class Webhook(Vendor):
    slug = "webhook"
    hosts = ()

    @classmethod
    def credential(cls, request: Request) -> str | None:
        """A signature is optional: lower-case hex HMAC-SHA1 over the exact body."""
        signature = request.headers.get("x-signature", "")
        return signature if not signature or re.fullmatch("[0-9a-f]{40}", signature) else None

    @classmethod
    def account(cls, request: Request) -> str:
        return ""  # the signature differs with every body

    @classmethod
    def authorized(cls, request: Request, known: set[str]) -> bool:
        signature = cls.credential(request)
        if not known or signature is None:
            return signature is not None
        made = (hmac.new(secret.encode(), request.body, "sha1").hexdigest() for secret in known)
        return any(hmac.compare_digest(signature, good) for good in made)

    @classmethod
    def secret(cls, request: Request, settings: Any) -> str | None:
        """Requests carry a signature only; the receiver has the secret that it is made with."""
        shared = getattr(settings, "shared_secret", None)
        return shared.reveal() if shared else None

    def respond(self, request: Request) -> Answer:
        if len(request.body) > self.max_bytes:
            return self.too_large()
        if request.method not in METHODS:
            allowed = ", ".join(METHODS)
            return Answer(405, {"message": f"only {allowed} are understood"}, {"Allow": allowed})
        if request.headers.get("content-type", "").split(";")[0].strip().lower() != JSON_TYPE:
            return Answer(415, {"message": f"the content type must be {JSON_TYPE}"})
        messages = request.json if isinstance(request.json, list) else [request.json]
        for position, message in enumerate(messages):
            if words := self._wrong(message):
                return Answer(400, {"message": f"message {position}: {words}"})
        for message in messages:
            self._take(message, request.at)
        return Answer(200, {"received": len(messages)})

    def _wrong(self, message: Any) -> str | None:
        if not isinstance(message, dict) or message.get("type") not in TYPES:
            return f"an object is expected whose `type` is one of {', '.join(TYPES)}"
        identifiers = _identifiers(message)
        if not identifiers:
            return "there is no identifier: userId, anonymousId, groupId, or one in context"
        if self.refused(*identifiers.values()):
            return "the identifier is not valid"
        wanted = {"identify": "traits", "track": "properties", "group": "traits"}.get(message["type"])
        if wanted and not isinstance(message.get(wanted), dict):
            return f"`{wanted}` must be an object"
        if message["type"] == "track" and not message.get("event"):
            return "`event` is required"
        return None

    def _take(self, message: dict[str, Any], at: float) -> None:
        identifiers = _identifiers(message)
        person = self.people.find_any(identifiers)
        if message["type"] == "delete":
            if person:
                self.people.forget(person)
            return
        if message["type"] == "track":
            self.events.add(at, message["event"], identifiers, message["properties"])
            return
        person = person or self.people.add()
        for kind, value in identifiers.items():
            self.people.identify(person, kind, value)
        self.people.tell(person, at, message["traits"])


def _identifiers(message: dict[str, Any]) -> dict[str, str]:
    """All identifiers of a message, by kind, the strongest first."""
    context = _dict(message.get("context"))
    traits = {**_dict(context.get("traits")), **(_dict(message.get("traits")))}
    device = _dict(context.get("device"))
    found = {"groupId": message.get("groupId")} if message.get("type") == "group" else {}
    found |= {"userId": message.get("userId"), "anonymousId": message.get("anonymousId")}
    found |= {kind: traits.get(kind) for kind in ("email", "phone")}
    found |= {"device": device.get("advertisingId")}
    for external in context.get("externalIds") or ():
        found[_dict(external).get("type", "")] = _dict(external).get("id")
    return {kind: value for kind, value in found.items() if isinstance(value, str) and value}


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
