"""CleverTap: uploads of profiles and events. https://developer.clevertap.com/docs/upload-user-profiles-api"""

from dataclasses import replace

import msgspec

from sandbox.plain import PlainVendor, Takes, header
from sandbox.vendor import Answer, Request


class CleverTap(PlainVendor):
    slug = "clevertap"
    hosts = (r"([a-z0-9]+\.)?api\.clevertap\.com",)
    secret_in = header("x-clevertap-passcode")
    takes = (
        Takes("POST", "/1/upload#profile", ids={"identity": str, "objectId": str}, rows="d", traits="profileData",
              needs={"ts": int}),
        Takes("POST", "/1/upload#event", ids={"identity": str, "objectId": str}, rows="d", traits="evtData",
              event="evtName", needs={"ts": int}),
    )  # fmt: skip

    def respond(self, request: Request) -> Answer:
        """Records that are not right are listed; the others are taken."""
        if not request.headers.get("x-clevertap-account-id"):
            return self.unauthorized()
        if (request.method, request.path) == ("POST", "/1/delete/profiles.json"):
            return self._delete(request)
        if (request.method, request.path) != ("POST", "/1/upload"):
            return self.unknown(request)
        records = request.object.get("d")
        if not isinstance(records, list) or not 0 < len(records) <= 1_000:
            return self.invalid("1 to 1,000 records are taken")
        failed = []
        for record in records:
            kind = record.get("type") if isinstance(record, dict) else None
            one = replace(request, target=f"/1/upload#{kind}", body=msgspec.json.encode({"d": [record]}))
            answer = super().respond(one)
            if answer.status != 200:
                failed.append({"status": "fail", "code": 512, "error": str(answer.json), "record": record})
        taken = len(records) - len(failed)
        status = "success" if not failed else "partial" if taken else "fail"
        return Answer(200, {"status": status, "processed": taken, "unprocessed": failed})

    def _delete(self, request: Request) -> Answer:
        asked = request.object.get("identity")
        if not isinstance(asked, list) or not 0 < len(asked) <= 100:
            return self.invalid("1 to 100 identities are taken")
        for identity in asked:
            if person := self.people.find("identity", str(identity)):
                self.people.forget(person)
        return Answer(200, {"status": "success", "processed": len(asked), "unprocessed": []})
