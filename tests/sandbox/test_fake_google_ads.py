"""The fake Data Manager API of Google Ads."""

from collections.abc import Callable
from hashlib import sha256
from typing import Any

import jwt
import pytest

from transforms.destinations.transcripts import variables

KEY = variables("${PRIVATE_KEY}")["PRIVATE_KEY"].replace("\\n", "\n")
TOKENS = "https://oauth2.googleapis.com/token"
API = "https://datamanager.googleapis.com/v1"
LISTS = f"{API}/accountTypes/GOOGLE_ADS/accounts/1/userLists"
CONTACTS = {"uploadKeyTypes": ["CONTACT_ID"]}
TERMS = {"customerMatchTermsOfServiceStatus": "ACCEPTED"}
ANA, BOB, PHONE = (sha256(each.encode()).hexdigest() for each in ("ana@b.co", "bob@b.co", "+4930123456"))

Ask = Callable[..., Any]


@pytest.fixture
def ask(sandbox: Any, gateway: Any) -> Ask:
    token = signed_in(gateway, sandbox.sandbox.now())

    def send(method: str, url: str, json: Any = None, **more: Any) -> Any:
        return gateway.send(method, url, json, headers={"authorization": f"Bearer {token}"}, **more)

    return send


def signed_in(gateway: Any, now: float, scope: str = "https://www.googleapis.com/auth/datamanager") -> str:
    claims = {"iss": "me@acme.example", "scope": scope, "aud": TOKENS, "iat": int(now), "exp": int(now) + 300}
    form = {"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer", "assertion": jwt.encode(claims, KEY, "RS256")}
    token: str = gateway.send("POST", TOKENS, data=form).json()["access_token"]
    return token


def made(ask: Ask, name: str = "vips", info: Any = CONTACTS) -> Any:
    body = {"displayName": name, "membershipDuration": "86400s", "ingestedUserListInfo": info}
    return ask("POST", LISTS, body)


def member(**identifiers: str) -> dict[str, Any]:
    return {"userData": {"userIdentifiers": [{name: value} for name, value in identifiers.items()]}}


def change(ask: Ask, verb: str, listed: str, *members: Any, **more: Any) -> Any:
    account = {"accountType": "GOOGLE_ADS", "accountId": "1"}
    body = {"destinations": [{"operatingAccount": account, "productDestinationId": listed}], "encoding": "HEX"}
    more = {"termsOfService": TERMS, **more} if verb == "ingest" else more
    return ask("POST", f"{API}/audienceMembers:{verb}", {**body, "audienceMembers": list(members), **more})


def reason(answer: Any) -> str:
    assert 400 == answer.status_code
    found: str = answer.json()["error"]["details"][0]["reason"]
    return found


def test_a_token_for_something_else_is_refused(sandbox: Any, gateway: Any) -> None:
    token = signed_in(gateway, sandbox.sandbox.now(), "https://www.googleapis.com/auth/pubsub")
    assert 401 == gateway.send("GET", LISTS, headers={"authorization": f"Bearer {token}"}).status_code


def test_a_list_is_found_by_its_name_and_made_once(ask: Ask) -> None:
    listed = made(ask, 'a "b"').json()["id"]
    found = ask("GET", LISTS, params={"filter": 'display_name = "a \\"b\\""'}).json()["userLists"]
    assert [listed] == [each["id"] for each in found]
    assert "INVALID_ARGUMENT" == reason(made(ask, 'a "b"'))
    assert "INVALID_FORMAT" == reason(ask("GET", LISTS, params={"filter": "name = a"}))


def test_a_list_of_devices_names_its_app(ask: Ask) -> None:
    assert "REQUIRED_FIELD_MISSING" == reason(made(ask, info={"uploadKeyTypes": ["MOBILE_ID"]}))
    device = {"keySpace": "IOS", "appId": "1"}
    assert 200 == made(ask, info={"uploadKeyTypes": ["MOBILE_ID"], "mobileIdInfo": device}).status_code


def test_members_join_and_leave_by_any_of_their_identifiers(sandbox: Any, ask: Ask) -> None:
    listed = made(ask).json()["id"]
    change(ask, "ingest", listed, member(emailAddress=ANA, phoneNumber=PHONE), member(emailAddress=BOB))
    assert 200 == change(ask, "remove", listed, member(phoneNumber=PHONE)).status_code
    [account] = sandbox.told("google-ads-remarketing-lists")
    assert [{"name": "vips", "members": [[BOB]]}] == account["lists"]


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        (member(emailAddress="ana@b.co"), "INVALID_SHA256_FORMAT"),
        ({"userData": {"userIdentifiers": [{"emailAddress": ANA, "phoneNumber": PHONE}]}}, "INVALID_FORMAT"),
        ({"userData": {"userIdentifiers": [{"address": {"givenName": ANA}}]}}, "REQUIRED_FIELD_MISSING"),
        ({"userIdData": {"userId": "u1"}}, "INVALID_FORMAT"),
    ],
)
def test_one_member_that_is_wrong_refuses_all_and_is_named(sandbox: Any, ask: Ask, wrong: Any, why: str) -> None:
    listed = made(ask).json()["id"]
    answer = change(ask, "ingest", listed, member(emailAddress=BOB), wrong)
    assert why == reason(answer)
    [violation] = answer.json()["error"]["details"][1]["fieldViolations"]
    assert "audience_members[1]" == violation["field"]
    assert {"lists": 1, "members": 0} == {
        "lists": len(sandbox.told("google-ads-remarketing-lists")[0]["lists"]),
        "members": len(sandbox.told("google-ads-remarketing-lists")[0]["lists"][0]["members"]),
    }


def test_terms_are_for_who_joins_only_and_a_list_that_is_gone_is_said(ask: Ask) -> None:
    listed = made(ask).json()["id"]
    assert "TERMS_AND_CONDITIONS_NOT_SIGNED" == reason(change(ask, "ingest", listed, termsOfService=None))
    assert "INVALID_ARGUMENT" == reason(change(ask, "remove", listed, member(emailAddress=ANA), termsOfService=TERMS))
    assert 200 == ask("DELETE", f"{LISTS}/{listed}").status_code
    assert "INVALID_USER_LIST_ID" == reason(change(ask, "ingest", listed, member(emailAddress=ANA)))


def test_a_request_is_processed_a_minute_later(ask: Ask, clock: Any) -> None:
    job = change(ask, "ingest", made(ask).json()["id"], member(emailAddress=ANA)).json()["requestId"]

    def status() -> str:
        answer = ask("GET", f"{API}/requestStatus:retrieve", params={"requestId": job}).json()
        found: str = answer["requestStatusPerDestination"][0]["requestStatus"]
        return found

    assert "PROCESSING" == status()
    clock.now += 60
    assert "SUCCESS" == status()
    assert "INVALID_REQUEST_ID" == reason(ask("GET", f"{API}/requestStatus:retrieve", params={"requestId": "nope"}))
