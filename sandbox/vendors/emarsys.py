"""Emarsys: contacts by e-mail address, contact lists, external events. https://dev.emarsys.com/docs/core-api-reference"""

import re
from base64 import b64encode
from dataclasses import replace
from hashlib import sha1
from typing import Any

import msgspec

from sandbox.plain import PlainVendor, Takes
from sandbox.vendor import Answer, Request

WSSE = re.compile(r'UsernameToken Username="([^"]+)", PasswordDigest="([^"]+)", Nonce="([^"]+)", Created="([^"]+)"')
DONE = {"replyCode": 0, "replyText": "OK"}


class Emarsys(PlainVendor):
    slug = "emarsys"
    hosts = (r"api\.emarsys\.net",)
    max_bytes = 8_000_000
    takes = (
        Takes("PUT", "/api/v2/contact/", ids={"3": str}, rows="contacts", traits="*"),
        Takes("POST", "/api/v2/event/{event}/trigger", ids={"external_id": str}, event="event", traits="data",
              needs={"key_id": str}, answer=DONE),
    )  # fmt: skip

    @classmethod
    def credential(cls, request: Request) -> str | None:
        """The user: the secret does not travel."""
        found = WSSE.fullmatch(request.headers.get("x-wsse", ""))
        return found[1] if found else None

    @classmethod
    def authorized(cls, request: Request, known: set[str]) -> bool:
        found = WSSE.fullmatch(request.headers.get("x-wsse", ""))
        if not found or not known:
            return found is not None
        _, digest, nonce, created = found.groups()
        made = (sha1(f"{nonce}{created}{secret}".encode()).hexdigest() for secret in known)
        return digest in {b64encode(each.encode()).decode() for each in made}

    @classmethod
    def secret(cls, request: Request, settings: Any) -> str | None:
        return str(settings.secret.reveal())

    def respond(self, request: Request) -> Answer:
        """Contacts that are not right are named, the others are taken."""
        if listed := re.fullmatch(r"/api/v2/contactlist/(\d+)/(add|delete)", request.path):
            return self._list(request, *listed.groups())
        contacts = request.object.get("contacts")
        if request.method != "PUT" or not isinstance(contacts, list):
            return super().respond(request)
        bad = [each["3"] for each in contacts if isinstance(each, dict) and self.refused(str(each.get("3") or ""))]
        good = [each for each in contacts if not isinstance(each, dict) or each.get("3") not in bad]
        if good:
            answer = super().respond(replace(request, body=msgspec.json.encode({"contacts": good})))
            if answer.status != 200:
                return answer
        return self._done({email: {"2005": "The e-mail address is not valid."} for email in bad})

    def _list(self, request: Request, number: str, what: str) -> Answer:
        asked = request.object.get("external_ids")
        if request.object.get("key_id") != "3" or not isinstance(asked, list) or not 0 < len(asked) <= 1_000:
            return self.invalid("`key_id` and 1 to 1,000 `external_ids` are needed")
        errors = {}
        for email in asked:
            if person := self.people.find("3", str(email)):
                self.people.tell(person, request.at, {f"list {number}": what == "add"})
            else:
                errors[str(email)] = {"2008": "No contact found with the external id."}
        return self._done(errors)

    def _done(self, errors: dict[str, Any]) -> Answer:
        return Answer(200, {**DONE, "data": {"errors": errors or []}})

    def invalid(self, words: str) -> Answer:
        return Answer(400, {"replyCode": 10001, "replyText": words})
