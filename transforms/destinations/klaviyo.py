"""Klaviyo: profiles by import jobs, events in bulk. Its lists are not kept: leaving one needs the profile's own id."""

from collections.abc import Sequence
from datetime import date
from typing import Annotated, Any
from urllib.parse import parse_qs, quote, urlsplit

from msgspec import Meta, Struct

from schemas.outcomes import Later, Submitted
from transforms.destinations.auth import Header
from transforms.destinations.contract import (
    ApiVersion,
    Batch,
    Call,
    Conversation,
    Delivered,
    Limit,
    Outcome,
    Rejected,
    Reply,
    Request,
    Secret,
    Verdict,
    by_status,
    refused,
)
from transforms.destinations.plain import Item, Plain
from transforms.destinations.reading import part, rows, word

REVISION = "2026-07-15"
JOBS = "/profile-bulk-import-jobs"
POLL = 10.0  # seconds between questions about a job
# Attributes of a profile; any other trait is one of its `properties`.
STANDARD = {"first_name", "last_name", "title", "organization", "locale", "image"}
_LIFE = "https://developers.klaviyo.com/en/docs/api_versioning_and_deprecation_policy"  # two years
_BULK = "https://developers.klaviyo.com/en/reference/bulk_import_profiles"


class Klaviyo(Plain):
    slug = "klaviyo"
    name = "Klaviyo"
    page = "https://developers.klaviyo.com/en/reference/api_overview"
    base = "https://a.klaviyo.com/api"
    names = {"email": "email", "phone": "phone_number", "user_id": "external_id"}
    one_record = {"phone": "attach", "user_id": "attach"}
    auth = Header("authorization", "Klaviyo-API-Key {api_key}")
    batch = Batch(1_000, 4_000_000, requests=2)  # a job of profiles takes 10,000; one of events 1,000
    api_version = ApiVersion(REVISION, date(2028, 7, 15), _LIFE)
    # Bursts and steady rate of both kinds of job.
    limits = (Limit(10, source=_BULK), Limit(150, 60.0, source=_BULK))

    class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
        """Access to one account."""

        api_key: Annotated[
            Secret, Meta(description="Private key with full access to profiles and events: Settings > API keys.")
        ]

    def identify(self, people: Sequence[Item]) -> Request:
        data = {"data": [_profile(person.ids, person.traits) for person in people]}
        return self._job(JOBS, "profile-bulk-import-job", {"profiles": data})

    def track(self, events: Sequence[Item]) -> Request:
        data = {"data": [_event(event) for event in events]}
        return self._job("/event-bulk-create-jobs", "event-bulk-create-job", {"events-bulk-create": data})

    def _job(self, path: str, kind: str, attributes: dict[str, Any]) -> Request:
        return self.post(path, {"data": {"type": kind, "attributes": attributes}}, headers={"revision": REVISION})

    def read(self, reply: Reply, items: Sequence[Item]) -> Outcome:
        """A job of events has no questions to be asked: it is taken, or refused as a whole."""
        if not reply.ok:
            return refused(reply, words=_words(reply))
        job = word(part(reply.object, "data"), "id")
        return Submitted(job, POLL) if job and not items[0].event else Delivered(unconfirmed=True)

    def collect(self, job: str, calls: Sequence[Call]) -> Conversation:
        path = f"{JOBS}/{quote(job, safe='')}"
        reply = yield self.ask("GET", path, headers={"revision": REVISION})
        if reply.status == 404:
            return [Later(words=f"Klaviyo does not know the import job {job!r} any more")] * len(calls)
        job_now = part(part(reply.object, "data"), "attributes")
        if word(job_now, "status") in ("queued", "processing"):
            return [Submitted(job, POLL)] * len(calls)
        if word(job_now, "status") != "complete":
            return [Later(words=f"Klaviyo's import job is {word(job_now, 'status') or 'lost'}")] * len(calls)
        errors: dict[str, str] = {}
        page: dict[str, str] | None = {"page[size]": "100"} if job_now.get("failed_count") else None
        while page:
            reply = yield self.ask("GET", f"{path}/import-errors", params=page, headers={"revision": REVISION})
            errors |= _errors(reply)
            after = parse_qs(urlsplit(word(part(reply.object, "links"), "next")).query).get("page[cursor]", [""])[0]
            page = {**page, "page[cursor]": after} if after and after != page.get("page[cursor]") else None
        return [self._outcome(call, errors) for call in calls]

    def _outcome(self, call: Call, errors: dict[str, str]) -> Outcome:
        known = [call.identifier.id, *(value for value in call.traits.values() if isinstance(value, str))]
        words = next((errors[each] for each in known if each in errors), None)
        return Delivered() if words is None else Rejected("invalid_value", words)

    def classify(self, request: Request, reply: Reply, items: int) -> Verdict:
        if reply.status == 404 and f"{JOBS}/" in request.url:
            return Verdict("answered")
        return by_status(reply, items)


def _profile(ids: Any, traits: Any) -> dict[str, Any]:
    own = {name: value for name, value in traits.items() if name in STANDARD}
    properties = {name: value for name, value in traits.items() if name not in STANDARD}
    return {"type": "profile", "attributes": {**ids, **own, "properties": properties}}


def _event(event: Item) -> dict[str, Any]:
    """One event in a bulk of its own profile; Klaviyo drops a second one with the same `unique_id`."""
    told = {
        "type": "event",
        "attributes": {
            "metric": {"data": {"type": "metric", "attributes": {"name": event.event}}},
            "properties": event.properties,
            "time": event.time,
            "unique_id": event.message_id,
        },
    }
    profile = {"data": {"type": "profile", "attributes": {**event.ids}}}
    return {"type": "event-bulk-create", "attributes": {"profile": profile, "events": {"data": [told]}}}


def _errors(reply: Reply) -> dict[str, str]:
    """What is wrong with profiles of a job, by each of their identifiers."""
    found = {}
    for error in rows(reply.object, "data"):
        attributes = part(error, "attributes")
        sent = part(attributes, "original_payload")
        for name in ("email", "phone_number", "external_id"):
            if value := word(sent, name):
                found[value] = word(attributes, "detail") or word(attributes, "title")
    return found


def _words(reply: Reply) -> str:
    error = next(iter(rows(reply.object, "errors")), {})
    return word(error, "detail") or reply.words()
