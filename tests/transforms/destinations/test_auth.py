"""Auth objects: what they put into a request, and how they sign in. No network."""

from collections.abc import Mapping
from typing import Any

import jwt
import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from msgspec import Struct

from schemas.secret import Secret
from transforms.destinations.auth import (
    NO_SESSION,
    Auth,
    Basic,
    Bearer,
    Body,
    ByEndpoint,
    ClientCredentials,
    Header,
    JwtBearer,
    Query,
    RefreshToken,
    Session,
    SigV4,
)
from transforms.destinations.http import Reply, Request

NOW = 1_440_938_160.0  # 2015-08-30T12:36:00Z


class Settings(Struct, frozen=True):
    key: Secret = Secret("${AUTH_KEY}")
    user: str = "ann"
    subdomain: str = "acme"


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTH_KEY", "se/cret")


def headers(auth: Auth, request: Request | None = None, session: Session = NO_SESSION) -> Mapping[str, str]:
    return auth.headers(request or Request("GET", "https://x.example/"), Settings(), session, NOW)


def test_headers() -> None:
    assert {"x-api-key": "v1 se/cret"} == headers(Header("x-api-key", "v1 {key}"))
    assert {"authorization": "Bearer se/cret"} == headers(Bearer("{key}"))
    assert {"authorization": "Basic YW5uL3Rva2VuOnNlL2NyZXQ="} == headers(Basic("{user}/token", "{key}"))
    assert {} == headers(Auth())


def completed(auth: Auth, request: Request, session: Session = NO_SESSION) -> Request:
    return auth.complete(request, Settings(), session)


def test_query_and_body() -> None:
    asked = completed(Query({"token": "{key}"}), Request("GET", "https://x.example/?a=b"))
    assert "https://x.example/?a=b&token=se%2Fcret" == asked.full_url
    assert (
        b'{"token":"se/cret","a":1}' == completed(Body({"token": "{key}"}), Request("POST", "/", json={"a": 1})).body()
    )
    assert b"token=se%2Fcret&a=1" == completed(Body({"token": "{key}"}), Request("POST", "/", form={"a": "1"})).body()


def test_a_path_is_under_the_base_url_of_the_session() -> None:
    session = Session("t", "https://eu.acme.example")
    assert "https://eu.acme.example/v1" == completed(Auth(), Request("GET", "/v1"), session).url
    assert "https://x.example/v1" == completed(Auth(), Request("GET", "https://x.example/v1"), session).url


def sign_in(auth: Auth, answer: dict[str, Any], kept: str = "") -> tuple[Request, Session]:
    signing_in = auth.sign_in(Settings(), kept, NOW)
    request = next(signing_in)
    try:
        signing_in.send(Reply(200, body=msgspec.json.encode(answer)))
    except StopIteration as end:
        return request, end.value
    raise AssertionError("one request signs in")


TOKEN = {"access_token": "t1", "expires_in": 3600, "api": "https://eu.acme.example/"}


@pytest.mark.parametrize(
    ("send", "body", "authorization"),
    [
        ("form", b"grant_type=client_credentials&scope=all&client_id=ann&client_secret=se%2Fcret", None),
        (
            "json",
            b'{"grant_type":"client_credentials","scope":"all","client_id":"ann","client_secret":"se/cret"}',
            None,
        ),
        ("basic", b"grant_type=client_credentials&scope=all", "Basic YW5uOnNlL2NyZXQ="),
    ],
)
def test_client_credentials(send: Any, body: bytes, authorization: str | None) -> None:
    auth = ClientCredentials(
        "https://{subdomain}.example/token", "{user}", "{key}", scope="all", send=send, base_url="api"
    )
    request, session = sign_in(auth, TOKEN)
    assert ("POST", "https://acme.example/token", body) == (request.method, request.url, request.body())
    assert authorization == request.headers.get("authorization")
    assert Session("t1", "https://eu.acme.example", NOW + 3600, NOW + 3540) == session
    assert {"authorization": "Bearer t1"} == headers(auth, session=session)


def test_a_short_session_is_renewed_a_tenth_before_its_end() -> None:
    _, session = sign_in(ClientCredentials("https://x.example", "{user}", "{key}"), TOKEN | {"expires_in": 100})
    assert (NOW + 100, NOW + 90) == (session.expires, session.renew_at)


@pytest.mark.parametrize("answer", [{}, {"access_token": 7}, {"access_token": None, "expires_in": "soon"}])
def test_an_answer_of_another_form_is_a_session_without_an_end(answer: dict[str, Any]) -> None:
    _, session = sign_in(ClientCredentials("https://x.example", "{user}", "{key}"), answer)
    assert session.expires == float("inf")


def test_a_refresh_token_of_the_answer_takes_the_place_of_the_one_that_was_sent() -> None:
    auth = RefreshToken("https://x.example", "{key}", "c", "s")
    first, session = sign_in(auth, TOKEN | {"refresh_token": "r2"})
    assert b"refresh_token=se%2Fcret" in (first.body() or b"")
    assert "r2" == session.refresh_token
    second, session = sign_in(auth, TOKEN | {"refresh_token": "r2"}, kept="r2")
    assert b"refresh_token=r2" in (second.body() or b"")
    assert "" == session.refresh_token


def test_an_assertion_is_signed_with_the_private_key(monkeypatch: pytest.MonkeyPatch) -> None:
    key = rsa.generate_private_key(65537, 2048)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    monkeypatch.setenv("AUTH_KEY", pem.replace("\n", "\\n"))  # as it stands in a file of variables
    auth = JwtBearer("https://x.example/token", "{key}", {"iss": "{user}", "aud": "https://x.example"}, key_id="k1")
    request, session = sign_in(auth, TOKEN)
    assert request.form
    assert "urn:ietf:params:oauth:grant-type:jwt-bearer" == request.form["grant_type"]
    told = jwt.decode(
        request.form["assertion"],
        key.public_key(),
        ["RS256"],
        audience="https://x.example",
        options={"verify_exp": False, "verify_iat": False},
    )
    assert {"iss": "ann", "aud": "https://x.example", "iat": NOW, "exp": NOW + 300} == told
    assert "k1" == jwt.get_unverified_header(request.form["assertion"])["kid"]
    assert "t1" == session.token


def test_amazons_own_example_has_the_signature_that_amazon_shows() -> None:
    """The example `get-vanilla` of the test suite of Signature Version 4."""
    auth = SigV4("service", "us-east-1", "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
    signed = headers(auth, Request("GET", "https://example.amazonaws.com/"))
    assert "20150830T123600Z" == signed["X-Amz-Date"]
    assert signed["Authorization"] == (
        "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, "
        "SignedHeaders=host;x-amz-date, Signature=5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"
    )


def test_an_endpoint_is_signed_in_its_own_way() -> None:
    auth = ByEndpoint(Header("x-api-key", "{user}"), {"events": Body({"token": "{key}"})})
    person = completed(auth, Request("POST", "https://x.example/people", json={}))
    event = completed(auth, Request("POST", "https://x.example/events", json={}, endpoint="events"))
    assert [b"{}", b'{"token":"se/cret"}'] == [person.body(), event.body()]
    assert [{"x-api-key": "ann"}, {}] == [headers(auth, person), headers(auth, event)]
