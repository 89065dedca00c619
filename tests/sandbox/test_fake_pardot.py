"""The fake Pardot."""

from typing import Any

import pytest

V5 = "https://pi.pardot.com/api/v5"
UPSERT = "objects/prospects/do/upsertLatestByEmail"
HEADERS = {"Authorization": f"Bearer 00D-{'0' * 16}!1", "Pardot-Business-Unit-Id": "0Uv000000000001AAA"}
ACTIVITY = {
    "extension": "Ours", "type": "Entered", "value": "vip", "email": "a@b.co", "activityDate": "2026-01-01T00:00:00Z",
}  # fmt: skip


@pytest.fixture
def ask(gateway: Any, clock: Any) -> Any:
    def send(path: str, body: Any, method: str = "POST", **headers: str) -> Any:
        clock.now += 1
        return gateway.send(method, f"{V5}/{path}", body, headers={**HEADERS, **headers})

    return send


def prospect(email: str, deleted: bool = True, **fields: Any) -> dict[str, Any]:
    return {"matchEmail": email, "prospect": {"email": email, **fields}, "secondaryDeletedSearch": deleted}


def test_addresses_are_told_apart_by_case(sandbox: Any, ask: Any) -> None:
    assert [201, 200, 201] == [
        ask(UPSERT, prospect(email, vip__c="true")).status_code for email in ("ana@b.co", "ana@b.co", "Ana@b.co")
    ]
    [account] = sandbox.told("pardot", "ana@b.co")
    assert ["true"] == [person["values"]["vip__c"] for person in account["people"]]


def test_one_from_the_recycle_bin_comes_back_where_it_is_looked_for(ask: Any) -> None:
    made = ask(UPSERT, prospect("a@b.co")).json()["id"]
    assert 204 == ask(f"objects/prospects/{made}", {}, method="DELETE").status_code
    assert 404 == ask(f"objects/prospects/{made}", {}, method="DELETE").status_code
    assert 200 == ask(UPSERT, prospect("a@b.co")).status_code


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"prospect": {}}, 13),
        (prospect("nobody"), 4),
        (prospect("x@refused.example"), 4),
        (prospect("a@b.co", plan="gold"), 154),
        (prospect("a@b.co", Missing__c="x"), 154),
        (prospect("a@b.co", vip__c=True), 10000),
        (prospect("a@b.co", vip__c=["x"]), 10000),
    ],
)
def test_a_prospect_that_is_not_right_is_refused(ask: Any, body: dict[str, Any], code: int) -> None:
    answer = ask(UPSERT, body)
    assert (400, code) == (answer.status_code, answer.json()["code"])


def test_a_request_without_business_unit_is_answered_in_xml(ask: Any) -> None:
    answer = ask(UPSERT, prospect("a@b.co"), **{"Pardot-Business-Unit-Id": "x"})
    assert (400, "<?xml") == (answer.status_code, answer.text[:5])
    assert 401 == ask(UPSERT, prospect("a@b.co"), Authorization="Bearer x").status_code


def test_the_requests_of_a_day_are_counted(sandbox: Any, ask: Any, clock: Any) -> None:
    ask(UPSERT, prospect("a@b.co"))
    [account] = sandbox.sandbox._accounts.values()
    account.vendor.daily = 1
    assert 122 == ask(UPSERT, prospect("a@b.co")).json()["code"]
    clock.now += 86_400
    assert 200 == ask(UPSERT, prospect("a@b.co")).status_code


def test_an_activity_needs_its_type(sandbox: Any, ask: Any) -> None:
    assert 201 == ask("external-activities", ACTIVITY).status_code
    for wrong in ({"type": "Missing"}, {"value": ""}, {"activityDate": "today"}, {"email": "x@refused.example"}):
        assert 400 == ask("external-activities", ACTIVITY | wrong).status_code
    [account] = sandbox.told("pardot", "a@b.co")
    assert [("Entered", {"value": "vip"})] == [(each["name"], each["properties"]) for each in account["events"]]
