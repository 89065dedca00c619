"""Google Cloud Pub/Sub: publish of v1, and the token endpoint of Google's service accounts."""

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error
from typing import Any
from urllib.parse import parse_qs

import jwt
import msgspec
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from sandbox.aws import keep_message, message_in
from sandbox.vendor import Answer, Cap, Request, Vendor, on

TOKENS = "oauth2.googleapis.com"
AUDIENCE = f"https://{TOKENS}/token"
SCOPES = {"https://www.googleapis.com/auth/pubsub", "https://www.googleapis.com/auth/cloud-platform"}
LIFE = 3_599  # seconds, of a token
MOST, MOST_BYTES = 1_000, 10_000_000


class GoogleCloudPubSub(Vendor):
    """Tokens say themselves whose they are: the hosts that give and take them share no state here."""

    slug = "google-cloud-pubsub"
    hosts = (r"pubsub\.googleapis\.com", re.escape(TOKENS))
    max_bytes = MOST_BYTES

    @classmethod
    def credential(cls, request: Request) -> str | None:
        if request.host == TOKENS:
            found = parse_qs(request.body.decode("utf-8", "replace")).get("assertion", [""])[0]
            return found if found.count(".") == 2 else None
        token = request.bearer()
        return token if token and _told(token) else None

    @classmethod
    def account(cls, request: Request) -> str:
        """The service account."""
        credential = cls.credential(request) or ""
        told = _claims(credential) if request.host == TOKENS else _told(credential)
        return str(told.get("iss", ""))

    @classmethod
    def authorized(cls, request: Request, known: set[str]) -> bool:
        """`known`: private keys, of which one signed the assertion."""
        credential = cls.credential(request)
        if credential is None or request.host != TOKENS:
            return credential is not None and _told(credential)["until"] > request.at
        return not known or any(_signed(credential, key) for key in known)

    @classmethod
    def secret(cls, request: Request, settings: Any) -> str | None:
        found: str = settings.private_key.reveal()
        return found

    def unauthorized(self) -> Answer:
        return _error(401, "UNAUTHENTICATED", "Request had invalid authentication credentials.")

    def throttled(self, cap: Cap, wait: float, at: float) -> Answer:
        return _error(429, "RESOURCE_EXHAUSTED", "Quota exceeded.")

    def failed(self, status: int) -> Answer:
        return _error(status, "UNAVAILABLE", "The service was unable to fulfill your request.")

    def too_large(self) -> Answer:
        return _error(400, "INVALID_ARGUMENT", "Request payload size exceeds the limit: 10000000 bytes.")

    def unknown(self, request: Request) -> Answer:
        return _error(404, "NOT_FOUND", "Requested entity was not found.")

    @on("POST", "/token")
    def sign_in(self, request: Request) -> Answer:
        form = parse_qs(request.body.decode())
        if form.get("grant_type") != ["urn:ietf:params:oauth:grant-type:jwt-bearer"]:
            return Answer(400, {"error": "unsupported_grant_type"})
        claims = _claims(form["assertion"][0])
        begins, ends = claims.get("iat"), claims.get("exp")
        dated = (
            isinstance(begins, int) and isinstance(ends, int) and begins - 300 <= request.at < ends <= begins + 3_600
        )
        if claims.get("aud") != AUDIENCE or not dated:
            return Answer(400, {"error": "invalid_grant", "error_description": "Invalid JWT: aud, iat or exp"})
        if not SCOPES & set(str(claims.get("scope", "")).split()):
            return Answer(400, {"error": "invalid_scope"})
        told = msgspec.json.encode({"iss": claims.get("iss"), "until": request.at + LIFE})
        token = f"ya29.{urlsafe_b64encode(told).decode().rstrip('=')}"
        return Answer(200, {"access_token": token, "expires_in": LIFE, "token_type": "Bearer"})

    @on("POST", "/v1/projects/{project}/topics/{topic}")
    def publish(self, request: Request, project: str, topic: str) -> Answer:
        name, _, verb = topic.partition(":")
        if verb != "publish":
            return self.unknown(request)
        if not re.fullmatch(r"(?!goog)[A-Za-z][A-Za-z0-9._~+%-]{2,254}", name):
            return _error(400, "INVALID_ARGUMENT", "Invalid resource name given.")
        messages = request.object.get("messages")
        if not isinstance(messages, list) or not 1 <= len(messages) <= MOST:
            return _error(400, "INVALID_ARGUMENT", f"1 to {MOST} messages are taken.")
        told = [message_in(message.get("data")) if isinstance(message, dict) else None for message in messages]
        if None in told:
            return _error(400, "INVALID_ARGUMENT", "A message has no data, or none that is base64 of JSON.")
        for message in told:
            keep_message(self, message, request.at, topic=f"projects/{project}/topics/{name}")
        first = len(self.events) - len(told) + 1
        return Answer(200, {"messageIds": [str(first + place) for place in range(len(told))]})


def _error(status: int, name: str, words: str) -> Answer:
    return Answer(status, {"error": {"code": status, "message": words, "status": name}})


def _claims(assertion: str) -> dict[str, Any]:
    """What a token says, whoever signed it."""
    try:
        found: dict[str, Any] = jwt.decode(assertion, options={"verify_signature": False})
    except jwt.InvalidTokenError:
        return {}
    return found


def _signed(assertion: str, key: str) -> bool:
    """Whether this private key signed it."""
    public: Any = load_pem_private_key(key.replace("\\n", "\n").encode(), None).public_key()
    try:
        jwt.decode(
            assertion, public, ["RS256"], options={"verify_exp": False, "verify_iat": False, "verify_aud": False}
        )
    except jwt.InvalidTokenError:
        return False
    return True


def _told(token: str) -> dict[str, Any]:
    """What an access token of this sandbox says; empty where it is none."""
    text = token.removeprefix("ya29.")
    try:
        found = msgspec.json.decode(urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    except (Error, ValueError, msgspec.DecodeError):
        return {}
    return found if isinstance(found, dict) and isinstance(found.get("until"), float) else {}
