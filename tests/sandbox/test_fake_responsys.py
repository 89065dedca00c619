"""The fake Responsys."""

from typing import Any

import pytest

API = "https://acme-api.responsys.ocs.oraclecloud.com/rest/api/v1.3"
LIST = f"{API}/lists/CONTACTS_LIST"
RULE = {"matchColumnName1": "EMAIL_ADDRESS_"}


@pytest.fixture
def ask(gateway: Any) -> Any:
    form = {"user_name": "api", "password": "pass", "auth_type": "password"}
    token = gateway.send("POST", f"{API}/auth/token", data=form).json()["authToken"]
    return lambda method, url, json=None: gateway.send(method, url, json, headers={"authorization": token})


def merge(ask: Any, *records: Any, names: Any = ("EMAIL_ADDRESS_",)) -> Any:
    data = {"fieldNames": list(names), "records": [list(each) for each in records], "mapTemplateName": None}
    return ask("POST", f"{LIST}/members", {"recordData": data, "mergeRule": RULE})


def flag(ask: Any, table: str, *records: Any, column: str = "VIP") -> Any:
    data = {"fieldNames": ["EMAIL_ADDRESS_", column], "records": [list(each) for each in records]}
    body = {"recordData": data, "matchColumnName1": "EMAIL_ADDRESS"}
    return ask("POST", f"{LIST}/listExtensions/{table}/members", body)


def made(ask: Any, name: str = "vip") -> Any:
    body = {
        "profileExtension": {"objectName": name, "folderName": "F"},
        "fields": [{"fieldName": "VIP", "fieldType": "STR500"}],
    }
    return ask("POST", f"{LIST}/listExtensions", body)


def test_a_token_is_needed(gateway: Any) -> None:
    answer = gateway.send("GET", f"{LIST}/listExtensions", headers={"authorization": "Bearer x"})
    assert (401, "INVALID_TOKEN") == (answer.status_code, answer.json()["errorCode"])


def test_a_merge_answers_for_each_record_in_its_order(ask: Any) -> None:
    answer = merge(ask, ["a@b.co"], ["x@refused.example"], ["b@b.co"]).json()["recordData"]["records"]
    assert [False, True, False] == [each[0].startswith("MERGEFAILED") for each in answer]


def test_records_have_a_text_for_each_name_and_are_200_at_most(ask: Any) -> None:
    assert "INVALID_REQUEST_CONTENT" == merge(ask, ["a@b.co", "x"]).json()["errorCode"]
    assert "INVALID_REQUEST_CONTENT" == merge(ask, [7]).json()["errorCode"]
    assert "RECIPIENT_LIMIT_EXCEEDED" == merge(ask, *[[f"{n}@b.co"] for n in range(201)]).json()["errorCode"]
    assert "INVALID_PARAMETER" == merge(ask, ["a@b.co", "x"], names=("EMAIL_ADDRESS_", "VIP")).json()["errorCode"]


def test_a_table_refuses_who_is_not_in_the_list_and_columns_that_it_has_not(sandbox: Any, ask: Any) -> None:
    assert 404 == flag(ask, "vip", ["a@b.co", "1"]).status_code
    assert [200, 400] == [made(ask).status_code for _ in range(2)]
    merge(ask, ["a@b.co"], ["b@b.co"])
    told = flag(ask, "VIP", ["a@b.co", "1"], ["z@b.co", "1"]).json()["recordData"]["records"]
    assert [False, True] == [each[0].startswith("MERGEFAILED") for each in told]
    assert "OTHER" in flag(ask, "vip", ["a@b.co", "1"], column="OTHER").json()["detail"]
    flag(ask, "vip", ["b@b.co", "1"], ["a@b.co", "0"])
    [account] = sandbox.told("responsys")
    assert [{"name": "vip", "members": ["b@b.co"]}] == account["lists"]


def test_an_event_hides_its_errors_in_an_answer_of_200(ask: Any) -> None:
    merge(ask, ["a@b.co"])
    where = {"listName": {"folderName": "F", "objectName": "CONTACTS_LIST"}}
    body = {"recipientData": [{"recipient": {"emailAddress": each, **where}} for each in ("a@b.co", "z@b.co")]}
    answer = ask("POST", f"{API}/events/Audience_Entered", body)
    assert (200, [True, False]) == (answer.status_code, [each["success"] for each in answer.json()])
