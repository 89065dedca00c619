"""Auth: how a vendor knows who asks. A destination declares one; the sender signs in, renews and signs.

    auth = Header("x-api-key", "{api_key}")        # `{api_key}`: the value of that setting
    auth = ClientCredentials("https://{subdomain}.vendor.example/oauth/token", "{client_id}", "{client_secret}")

`complete` puts in what is no header, when the request is made. `headers` makes the headers, at the moment of sending,
so that a signature is fresh. Where `signs_in`, the sender holds the conversation of `sign_in` before the first request,
some time before the session ends, and when the vendor refuses the session; everybody else waits for it.
"""

import re
from base64 import b64encode
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from math import inf
from typing import Any, ClassVar, Literal

import msgspec
from msgspec import Struct

from schemas.secret import Secret
from transforms.destinations.http import Reply, Request, Verdict, by_status
from transforms.destinations.reading import count, word

_SETTING = re.compile(r"\{(\w+)\}")
_EARLY = 60.0  # seconds before its end at which a session is renewed, at most
_EARLY_SHARE = 0.1  # of its life, at most


class WrongKey(Exception):
    """A key in the settings that nothing can be signed with; the words are for people."""


class Session(Struct, frozen=True):
    """What a vendor gave out for signing in."""

    token: str = ""
    base_url: str = ""  # of requests whose URL begins with `/`
    expires: float = inf  # seconds since 1970
    renew_at: float = inf  # the same; earlier than it expires
    refresh_token: str = ""  # a new one that takes the place of the one in the settings: it must not be lost


NO_SESSION = Session()
SigningIn = Generator[Request, Reply, Session]


@dataclass(frozen=True)
class Auth:
    """No credentials; the base of all others. `{name}` in a text stands for the value of that setting."""

    signs_in: ClassVar[bool] = False

    def sign_in(self, settings: Any, kept: str, now: float) -> SigningIn:
        """Sign in. `kept`: the refresh token that an earlier session brought, or "". Reveals secrets."""
        raise AssertionError(f"{type(self).__name__} does not sign in")
        yield

    def refused(self, reply: Reply) -> Verdict:
        """What a reply to a request of `sign_in` means."""
        if reply.status in (400, 401, 403):
            return Verdict("credentials", words=reply.words())
        return by_status(reply, 1)

    def complete(self, request: Request, settings: Any, session: Session) -> Request:
        """The request with whatever is no header. Reveals secrets."""
        whole = not request.url.startswith("/")
        return request if whole else msgspec.structs.replace(request, url=session.base_url + request.url)

    def headers(self, request: Request, settings: Any, session: Session, now: float) -> Mapping[str, str]:
        """Headers that carry the credentials; `now` in seconds since 1970. Reveals secrets."""
        return {}


@dataclass(frozen=True)
class Header(Auth):
    """One header: `Header("x-api-key", "{api_key}")`."""

    name: str
    value: str

    def headers(self, request: Request, settings: Any, session: Session, now: float) -> Mapping[str, str]:
        return {self.name: filled(self.value, settings)}


def Bearer(value: str) -> Header:
    """`Authorization: Bearer …`."""
    return Header("authorization", f"Bearer {value}")


@dataclass(frozen=True)
class Basic(Auth):
    """`Authorization: Basic …` of a user and a password."""

    user: str
    password: str = ""

    def headers(self, request: Request, settings: Any, session: Session, now: float) -> Mapping[str, str]:
        return {"authorization": basic(filled(self.user, settings), filled(self.password, settings))}


@dataclass(frozen=True)
class Query(Auth):
    """Parameters of the URL: `Query({"api_key": "{api_key}"})`."""

    params: Mapping[str, str]

    def complete(self, request: Request, settings: Any, session: Session) -> Request:
        request = super().complete(request, settings, session)
        return with_params(request, {name: filled(value, settings) for name, value in self.params.items()})


@dataclass(frozen=True)
class Body(Auth):
    """Fields of a JSON or form body: `Body({"auth_token": "{auth_token}"})`."""

    fields: Mapping[str, str]

    def complete(self, request: Request, settings: Any, session: Session) -> Request:
        request = super().complete(request, settings, session)
        added = {name: filled(value, settings) for name, value in self.fields.items()}
        if isinstance(request.json, Mapping):
            return msgspec.structs.replace(request, json={**added, **request.json})
        return msgspec.structs.replace(request, form={**added, **(request.form or {})})


@dataclass(frozen=True)
class ByEndpoint(Auth):
    """Requests of an endpoint class are signed in a way of their own, all others as usual. None of them signs in."""

    usual: Auth
    others: Mapping[str, Auth]  # by `Request.endpoint`

    def complete(self, request: Request, settings: Any, session: Session) -> Request:
        return self.others.get(request.endpoint, self.usual).complete(request, settings, session)

    def headers(self, request: Request, settings: Any, session: Session, now: float) -> Mapping[str, str]:
        return self.others.get(request.endpoint, self.usual).headers(request, settings, session, now)


@dataclass(frozen=True)
class _Token(Auth):
    """Sessions of an OAuth token endpoint (RFC 6749); requests carry the token as a bearer."""

    url: str
    base_url: str = field(default="", kw_only=True)  # the answer's field that has the base URL

    signs_in: ClassVar[bool] = True

    def headers(self, request: Request, settings: Any, session: Session, now: float) -> Mapping[str, str]:
        return {"authorization": f"Bearer {session.token}"}

    def refused(self, reply: Reply) -> Verdict:
        if reply.ok and not word(reply.object, "access_token"):
            return Verdict("transient", words=reply.words())
        return super().refused(reply)

    def session(self, reply: Reply, now: float) -> Session:
        """The session that the token endpoint's answer describes."""
        body = reply.object
        life = count(body, "expires_in") or inf
        early = min(_EARLY, life * _EARLY_SHARE)
        return Session(
            token=word(body, "access_token"),
            base_url=word(body, self.base_url).rstrip("/"),
            expires=now + life,
            renew_at=now + life - early,
            refresh_token=word(body, "refresh_token"),
        )


@dataclass(frozen=True)
class ClientCredentials(_Token):
    """The client's own id and secret are exchanged for tokens."""

    client_id: str = "{client_id}"
    client_secret: str = "{client_secret}"
    scope: str = ""
    send: Literal["form", "json", "basic"] = "form"  # how id and secret travel

    def sign_in(self, settings: Any, kept: str, now: float) -> SigningIn:
        client = {
            "client_id": filled(self.client_id, settings),
            "client_secret": filled(self.client_secret, settings),
        }
        fields = {"grant_type": "client_credentials", **({"scope": self.scope} if self.scope else {})}
        url = filled(self.url, settings)
        if self.send == "json":
            reply = yield Request("POST", url, json={**fields, **client})
        elif self.send == "basic":
            reply = yield Request("POST", url, form=fields, headers={"authorization": basic(*client.values())})
        else:
            reply = yield Request("POST", url, form={**fields, **client})
        session = self.session(reply, now)
        return msgspec.structs.replace(session, refresh_token="")


@dataclass(frozen=True)
class RefreshToken(_Token):
    """A refresh token is exchanged for access tokens. Where the vendor gives out a new one, that one is kept."""

    refresh_token: str = "{refresh_token}"
    client_id: str = "{client_id}"
    client_secret: str = "{client_secret}"

    def sign_in(self, settings: Any, kept: str, now: float) -> SigningIn:
        given = filled(self.refresh_token, settings)
        form = {
            "grant_type": "refresh_token",
            "client_id": filled(self.client_id, settings),
            "client_secret": filled(self.client_secret, settings),
            "refresh_token": kept or given,
        }
        reply = yield Request("POST", filled(self.url, settings), form=form)
        session = self.session(reply, now)
        new = session.refresh_token if session.refresh_token != form["refresh_token"] else ""
        return msgspec.structs.replace(session, refresh_token=new)


@dataclass(frozen=True)
class JwtBearer(_Token):
    """A JSON Web Token, signed with a private key, is exchanged for access tokens (RFC 7523)."""

    private_key: str = "{private_key}"
    claims: Mapping[str, str] = field(default_factory=dict)  # `iss`, `sub`, `aud`, `scope`
    algorithm: str = "RS256"
    key_id: str = ""
    life: float = 300.0  # seconds, of the assertion

    def sign_in(self, settings: Any, kept: str, now: float) -> SigningIn:
        import jwt  # only where it is used: it takes long to load

        claims: dict[str, Any] = {name: filled(value, settings) for name, value in self.claims.items()}
        key = filled(self.private_key, settings).replace("\\n", "\n")
        headers = {"kid": filled(self.key_id, settings)} if self.key_id else None
        claims |= {"iat": int(now), "exp": int(now + self.life)}
        try:
            assertion = jwt.encode(claims, _loaded(key, self.algorithm), self.algorithm, headers=headers)
        except (jwt.PyJWTError, TypeError, ValueError) as error:
            raise WrongKey(
                f"{self.private_key.strip('{}')} in its settings is no private key in PEM, for {self.algorithm}"
            ) from error
        form = {"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer", "assertion": assertion}
        reply = yield Request("POST", filled(self.url, settings), form=form)
        session = self.session(reply, now)
        return msgspec.structs.replace(session, refresh_token="")


@lru_cache(maxsize=8)
def _loaded(key: str, algorithm: str) -> Any:
    """A private key that is ready to sign: to read and check it takes a hundred times as long as to sign."""
    import jwt

    return jwt.get_algorithm_by_name(algorithm).prepare_key(key)


@dataclass(frozen=True)
class SigV4(Auth):
    """Signature version 4 of Amazon Web Services, made by botocore (the extra `aws`)."""

    service: str
    region: str = "{region}"
    access_key: str = "{access_key_id}"
    secret_key: str = "{secret_access_key}"
    session_token: str = ""

    def headers(self, request: Request, settings: Any, session: Session, now: float) -> Mapping[str, str]:
        from botocore.auth import SigV4Auth  # an extra
        from botocore.awsrequest import AWSRequest
        from botocore.credentials import Credentials

        class Signer(SigV4Auth):  # type: ignore[misc]  # botocore has no types; it would read the clock itself
            def add_auth(self, asked: Any) -> None:
                asked.context["timestamp"] = datetime.fromtimestamp(now, UTC).strftime("%Y%m%dT%H%M%SZ")
                self._modify_request_before_signing(asked)
                signature = self.signature(self.string_to_sign(asked, self.canonical_request(asked)), asked)
                self._inject_signature_to_request(asked, signature)

        token = filled(self.session_token, settings) if self.session_token else None
        keys = Credentials(filled(self.access_key, settings), filled(self.secret_key, settings), token)
        asked = AWSRequest(request.method, request.full_url, data=request.body(), headers=dict(request.all_headers))
        Signer(keys, self.service, filled(self.region, settings)).add_auth(asked)
        return dict(asked.headers.items())


# -- parts


def filled(text: str, settings: Any) -> str:
    """A text with the settings that it names. Reveals secrets; raises MissingSecret."""

    def value(match: re.Match[str]) -> str:
        found = getattr(settings, match[1])
        return found.reveal() if isinstance(found, Secret) else str(found)

    return _SETTING.sub(value, text)


def basic(user: str, password: str) -> str:
    """The value of an Authorization header."""
    return f"Basic {b64encode(f'{user}:{password}'.encode()).decode()}"


def with_params(request: Request, params: Mapping[str, str]) -> Request:
    return msgspec.structs.replace(request, params={**request.params, **params})
