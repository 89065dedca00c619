"""Google's service accounts in the sandbox: their tokens, and the shape of Google's errors.

Tokens say themselves whose they are and what for: the hosts that give and take them share no state here.
"""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error
from typing import Any
from urllib.parse import parse_qs

import jwt
import msgspec
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from sandbox.vendor import Answer, Request

TOKENS = "oauth2.googleapis.com"
AUDIENCE = f"https://{TOKENS}/token"
LIFE = 3_599  # seconds, of a token


def give_token(request: Request) -> Answer:
    """The answer of the token endpoint: one hour, for the scopes that the assertion asks for."""
    form = parse_qs(request.body.decode())
    if form.get("grant_type") != ["urn:ietf:params:oauth:grant-type:jwt-bearer"]:
        return Answer(400, {"error": "unsupported_grant_type"})
    claims = claims_of(form["assertion"][0])
    begins, ends = claims.get("iat"), claims.get("exp")
    dated = isinstance(begins, int) and isinstance(ends, int) and begins - 300 <= request.at < ends <= begins + 3_600
    if claims.get("aud") != AUDIENCE or not dated:
        return Answer(400, {"error": "invalid_grant", "error_description": "Invalid JWT: aud, iat or exp"})
    scopes = str(claims.get("scope", "")).split()
    if not any(scope.startswith("https://www.googleapis.com/auth/") for scope in scopes):
        return Answer(400, {"error": "invalid_scope"})
    told = msgspec.json.encode({"iss": claims.get("iss"), "until": request.at + LIFE, "scopes": scopes})
    token = f"ya29.{urlsafe_b64encode(told).decode().rstrip('=')}"
    return Answer(200, {"access_token": token, "expires_in": LIFE, "token_type": "Bearer"})


def error(status: int, name: str, words: str) -> Answer:
    return Answer(status, {"error": {"code": status, "message": words, "status": name}})


def claims_of(assertion: str) -> dict[str, Any]:
    """What a token says, whoever signed it."""
    try:
        found: dict[str, Any] = jwt.decode(assertion, options={"verify_signature": False})
    except jwt.InvalidTokenError:
        return {}
    return found


def signed(assertion: str, key: str) -> bool:
    """Whether this private key signed it."""
    public: Any = load_pem_private_key(key.replace("\\n", "\n").encode(), None).public_key()
    try:
        jwt.decode(
            assertion, public, ["RS256"], options={"verify_exp": False, "verify_iat": False, "verify_aud": False}
        )
    except jwt.InvalidTokenError:
        return False
    return True


def told_by(token: str) -> dict[str, Any]:
    """What an access token of this sandbox says; empty where it is none."""
    text = token.removeprefix("ya29.")
    try:
        found = msgspec.json.decode(urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    except (Error, ValueError, msgspec.DecodeError):
        return {}
    return found if isinstance(found, dict) and isinstance(found.get("until"), float) else {}
