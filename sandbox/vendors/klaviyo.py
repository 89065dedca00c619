"""Klaviyo: import jobs of profiles, and bulk jobs of events. https://developers.klaviyo.com/en/reference/api_overview"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import msgspec

from sandbox.plain import PlainVendor, Takes, header
from sandbox.vendor import Answer, Cap, Request

IMPORT, JOB = "/api/profile-bulk-import-jobs", "data.attributes"
REVISION = {"revision": "2026-07-15"}
NAMES = {"email": str, "phone_number": str, "external_id": str}


def _ids(ahead: str) -> dict[str, type]:
    return {f"{ahead}.{name}": kind for name, kind in NAMES.items()}


class Klaviyo(PlainVendor):
    slug = "klaviyo"
    hosts = (r"a\.klaviyo\.com",)
    caps = (Cap(10), Cap(150, 60.0))
    secret_in = header("authorization", "Klaviyo-API-Key ")
    takes = (
        Takes(
            "POST", IMPORT, ids=_ids("attributes"), rows=f"{JOB}.profiles.data", traits="attributes.properties",
            headers=REVISION, most=10_000, status=202,
        ),
        Takes(
            "POST", "/api/event-bulk-create-jobs", ids=_ids("attributes.profile.data.attributes"),
            rows=f"{JOB}.events-bulk-create.data", traits="attributes.events.data.0.attributes.properties",
            event="attributes.events.data.0.attributes.metric.data.attributes.name",
            needs={"attributes.events.data.0.attributes.unique_id": str}, headers=REVISION, status=202,
        ),
    )  # fmt: skip

    def __init__(self, refuses: Callable[[str], bool]) -> None:
        super().__init__(refuses)
        self._jobs: dict[str, list[dict[str, Any]]] = {}  # the errors of each

    def respond(self, request: Request) -> Answer:
        if request.path == IMPORT and request.method == "POST":
            return self._import(request)
        if request.path.startswith(f"{IMPORT}/"):
            return self._job(request, *request.path.removeprefix(f"{IMPORT}/").partition("/")[::2])
        return super().respond(request)

    def _import(self, request: Request) -> Answer:
        """Profiles that are refused are told by the job, one by one; the others are taken."""
        body = request.object
        attributes = body.get("data", {}).get("attributes", {}) if isinstance(body.get("data"), dict) else {}
        profiles = attributes.get("profiles", {}).get("data", [])
        known = [each.get("attributes", {}) for each in profiles if isinstance(each, dict)]
        bad = [each for each in known if self.refused(*(each.get(name) for name in NAMES))]
        good = [each for each, own in zip(profiles, known, strict=False) if own not in bad]
        if good:
            told = msgspec.json.encode({"data": {"attributes": {"profiles": {"data": good}}}})
            answer = super().respond(replace(request, body=told))
            if answer.status != 202:
                return answer
        job = f"job-{len(self._jobs) + 1}"
        self._jobs[job] = [
            {"type": "import-error", "attributes": {"detail": "The identifier is not valid.", "original_payload": each}}
            for each in bad
        ]
        return Answer(202, {"data": {"type": "profile-bulk-import-job", "id": job, "attributes": {"status": "queued"}}})

    def _job(self, request: Request, job: str, what: str) -> Answer:
        errors = self._jobs.get(job)
        if errors is None or request.method != "GET":
            return Answer(404, {"errors": [{"detail": "There is no such job."}]})
        if what == "import-errors":
            return Answer(200, {"data": errors, "links": {"next": None}})
        attributes = {"status": "complete", "failed_count": len(errors)}
        return Answer(200, {"data": {"type": "profile-bulk-import-job", "id": job, "attributes": attributes}})

    def invalid(self, words: str) -> Answer:
        return Answer(400, {"errors": [{"code": "invalid", "detail": words}]})

    def unauthorized(self) -> Answer:
        return Answer(401, {"errors": [{"code": "not_authenticated", "detail": "Missing or invalid private key."}]})
