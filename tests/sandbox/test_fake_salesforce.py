"""The fake Salesforce."""

from typing import Any
from urllib.parse import quote

import pytest

ORG = "https://acme.my.salesforce.com"
DATA = f"{ORG}/services/data/v62.0"
FORM = {"grant_type": "client_credentials", "client_id": "3MVG9", "client_secret": "s3cret"}


@pytest.fixture
def ask(gateway: Any, clock: Any) -> Any:
    token = gateway.send("POST", f"{ORG}/services/oauth2/token", data=FORM).json()["access_token"]

    def send(method: str, path: str, *records: dict[str, Any]) -> Any:
        clock.now += 1
        body = {"allOrNone": False, "records": list(records)} if records else None
        return gateway.send(method, f"{DATA}/{path}", body, headers={"Authorization": f"Bearer {token}"})

    return send


def lead(email: str, **fields: Any) -> dict[str, Any]:
    return {"attributes": {"type": "Lead"}, "Email": email, "LastName": "n/a", "Company": "n/a", **fields}


def found(ask: Any, *emails: str) -> Any:
    which = ",".join(f"'{email}'" for email in emails)
    soql = f"SELECT Id, Email, IsConverted, ConvertedContactId FROM Lead WHERE Email IN ({which})"
    return ask("GET", f"query/?q={quote(soql)}").json()["records"]


def codes(answer: Any) -> list[str]:
    return [row["errors"][0]["statusCode"] if row["errors"] else "" for row in answer.json()]


def test_a_session_ends(gateway: Any, clock: Any, ask: Any) -> None:
    assert [] == found(ask, "ana@b.co")
    clock.now += 7_201
    answer = ask("GET", "query/?q=x")
    assert (401, "INVALID_SESSION_ID") == (answer.status_code, answer.json()[0]["errorCode"])
    assert 400 == gateway.send("POST", f"{ORG}/services/oauth2/token", data={**FORM, "grant_type": "x"}).status_code
    assert 401 == gateway.send("GET", f"{DATA}/query/").status_code


def test_a_lead_is_made_changed_and_found_without_case(sandbox: Any, ask: Any) -> None:
    [made] = ask("POST", "composite/sobjects", lead("Ana@b.co", vip__c=True)).json()
    assert [made["id"]] == [each["Id"] for each in found(ask, "ana@B.co", "o\\'x@b.co")]
    change = {"attributes": {"type": "Lead"}, "id": made["id"], "City": "Lima", "vip__c": False}
    assert [""] == codes(ask("PATCH", "composite/sobjects", change))
    [account] = sandbox.told("salesforce", "Ana@b.co")
    assert [(False, "Lima")] == [(p["values"]["vip__c"], p["values"]["City"]) for p in account["people"]]


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        ({"vip__c": "yes"}, "INVALID_TYPE_ON_FIELD_IN_RECORD"),
        ({"Missing__c": 1}, "INVALID_FIELD"),
        ({"plan": 1}, "INVALID_FIELD"),
        ({"Company": ""}, "REQUIRED_FIELD_MISSING"),
        ({"Email": "x@refused.example"}, "INVALID_EMAIL_ADDRESS"),
        ({"Email": "nobody"}, "INVALID_EMAIL_ADDRESS"),
        ({"note__c": "x" * 256}, "STRING_TOO_LONG"),
        ({"attributes": {"type": "Ghost"}}, "INVALID_TYPE"),
    ],
)
def test_a_record_that_is_not_right_is_a_row_beside_the_good_ones(ask: Any, wrong: dict[str, Any], code: str) -> None:
    assert ["", code] == codes(ask("POST", "composite/sobjects", lead("a@b.co", vip__c=True), lead("b@b.co") | wrong))


def test_two_records_of_one_external_id_are_errors_both(ask: Any) -> None:
    path = "composite/sobjects/Lead/User_Id__c"
    ana, bob = lead("a@b.co", User_Id__c="u1"), lead("b@b.co", User_Id__c="u2")
    assert ["DUPLICATE_VALUE", "DUPLICATE_VALUE", ""] == codes(ask("PATCH", path, ana, ana, bob))
    assert [True] == [row["created"] for row in ask("PATCH", path, ana).json()]
    assert [False] == [row["created"] for row in ask("PATCH", path, ana).json()]
    assert 404 == ask("PATCH", "composite/sobjects/Lead/Email", ana).status_code


def test_a_converted_lead_names_its_contact_and_is_not_changed(sandbox: Any, ask: Any) -> None:
    ask("POST", "composite/sobjects", lead("a@b.co"))
    [account] = sandbox.sandbox._accounts.values()
    account.vendor.convert("a@b.co")
    [one] = found(ask, "a@b.co")
    assert one["IsConverted"] is True
    change = {"attributes": {"type": "Lead"}, "id": one["Id"], "City": "Lima"}
    assert ["CANNOT_UPDATE_CONVERTED_LEAD"] == codes(ask("PATCH", "composite/sobjects", change))
    contact = {"attributes": {"type": "Contact"}, "id": one["ConvertedContactId"], "MailingCity": "Lima"}
    assert [""] == codes(ask("PATCH", "composite/sobjects", contact))
    assert ["INVALID_CROSS_REFERENCE_KEY"] == codes(ask("PATCH", "composite/sobjects", {**change, "id": "00Q9"}))


def test_a_request_takes_200_records_and_a_query_is_what_it_should_be(ask: Any) -> None:
    assert 400 == ask("POST", "composite/sobjects", *[lead("a@b.co")] * 201).status_code
    assert 400 == ask("GET", "query/?q=DELETE").status_code


def account(number: str, **fields: Any) -> dict[str, Any]:
    return {"attributes": {"type": "Account"}, "Account_Id__c": number, **fields}


def test_an_account_is_made_with_a_name_and_found_by_its_external_id(sandbox: Any, ask: Any) -> None:
    path = "composite/sobjects/Account/Account_Id__c"
    nameless = ask("PATCH", path, account("acme", vip__c=True))
    assert ["REQUIRED_FIELD_MISSING"] == codes(nameless)
    assert ["Name"] == nameless.json()[0]["errors"][0]["fields"]
    [made] = ask("PATCH", path, account("acme", Name="Acme", BillingCity="Vienna")).json()
    [known] = ask("PATCH", path, account("acme", vip__c=True)).json()
    assert (True, False, made["id"]) == (made["created"], known["created"], known["id"])
    [told] = sandbox.told("salesforce", "acme")
    assert [] == told["people"]
    assert ["Acme"] == [each["values"]["Name"] for each in told["companies"]]
    assert ["INVALID_FIELD"] == codes(ask("PATCH", path, account("acme", City="Vienna")))
    assert ["DUPLICATE_VALUE"] * 2 == codes(ask("PATCH", path, account("acme"), account("acme")))
    assert 404 == ask("PATCH", "composite/sobjects/Account/Missing_Id__c", account("acme")).status_code
