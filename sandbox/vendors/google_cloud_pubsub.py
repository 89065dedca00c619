"""Google Cloud Pub/Sub: publish of v1, and the token endpoint of Google's service accounts."""

import re
from typing import Any
from urllib.parse import parse_qs

from sandbox.aws import keep_message, message_in
from sandbox.google import TOKENS, claims_of, error, give_token, signed, told_by
from sandbox.vendor import Answer, Cap, Request, Vendor, on

SCOPES = {"https://www.googleapis.com/auth/pubsub", "https://www.googleapis.com/auth/cloud-platform"}
MOST, MOST_BYTES = 1_000, 10_000_000


class GoogleCloudPubSub(Vendor):
    """A topic's host, and the one that gives out tokens for all of Google's."""

    slug = "google-cloud-pubsub"
    hosts = (r"pubsub\.googleapis\.com", re.escape(TOKENS))
    max_bytes = MOST_BYTES

    @classmethod
    def credential(cls, request: Request) -> str | None:
        if request.host == TOKENS:
            found = parse_qs(request.body.decode("utf-8", "replace")).get("assertion", [""])[0]
            return found if found.count(".") == 2 else None
        token = request.bearer()
        return token if token and told_by(token) else None

    @classmethod
    def account(cls, request: Request) -> str:
        """The service account."""
        credential = cls.credential(request) or ""
        told = claims_of(credential) if request.host == TOKENS else told_by(credential)
        return str(told.get("iss", ""))

    @classmethod
    def authorized(cls, request: Request, known: set[str]) -> bool:
        """`known`: private keys, of which one signed the assertion."""
        credential = cls.credential(request)
        if credential is None or request.host != TOKENS:
            told = told_by(credential or "")
            return bool(told) and told["until"] > request.at and not SCOPES.isdisjoint(told.get("scopes", ()))
        return not known or any(signed(credential, key) for key in known)

    @classmethod
    def secret(cls, request: Request, settings: Any) -> str | None:
        found: str = settings.private_key.reveal()
        return found

    def unauthorized(self) -> Answer:
        return error(401, "UNAUTHENTICATED", "Request had invalid authentication credentials.")

    def throttled(self, cap: Cap, wait: float, at: float) -> Answer:
        return error(429, "RESOURCE_EXHAUSTED", "Quota exceeded.")

    def failed(self, status: int) -> Answer:
        return error(status, "UNAVAILABLE", "The service was unable to fulfill your request.")

    def too_large(self) -> Answer:
        return error(400, "INVALID_ARGUMENT", "Request payload size exceeds the limit: 10000000 bytes.")

    def unknown(self, request: Request) -> Answer:
        return error(404, "NOT_FOUND", "Requested entity was not found.")

    @on("POST", "/token")
    def sign_in(self, request: Request) -> Answer:
        return give_token(request)

    @on("POST", "/v1/projects/{project}/topics/{topic}")
    def publish(self, request: Request, project: str, topic: str) -> Answer:
        name, _, verb = topic.partition(":")
        if verb != "publish":
            return self.unknown(request)
        if not re.fullmatch(r"(?!goog)[A-Za-z][A-Za-z0-9._~+%-]{2,254}", name):
            return error(400, "INVALID_ARGUMENT", "Invalid resource name given.")
        messages = request.object.get("messages")
        if not isinstance(messages, list) or not 1 <= len(messages) <= MOST:
            return error(400, "INVALID_ARGUMENT", f"1 to {MOST} messages are taken.")
        told = [message_in(message.get("data")) if isinstance(message, dict) else None for message in messages]
        if None in told:
            return error(400, "INVALID_ARGUMENT", "A message has no data, or none that is base64 of JSON.")
        for message in told:
            keep_message(self, message, request.at, topic=f"projects/{project}/topics/{name}")
        first = len(self.events) - len(told) + 1
        return Answer(200, {"messageIds": [str(first + place) for place in range(len(told))]})
