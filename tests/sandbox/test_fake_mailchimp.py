"""The fake Mailchimp."""

from hashlib import md5
from typing import Any

import pytest

API = "https://us6.api.mailchimp.com/3.0/lists/a1"


@pytest.fixture
def post(gateway: Any) -> Any:
    return lambda path, body: gateway.send("POST", API + path, body, auth=("any", "key-us6"))


def members(*emails: str, update: bool = False, **more: Any) -> dict[str, Any]:
    return {"members": [{"email_address": email, **more} for email in emails], "update_existing": update}


def test_a_member_who_is_there_is_changed_only_where_it_is_asked_and_keeps_the_status(sandbox: Any, post: Any) -> None:
    assert 1 == post("", members("Ana@b.co", status="unsubscribed")).json()["total_created"]
    [error] = post("", members("ana@b.co", status="subscribed")).json()["errors"]
    assert "ERROR_CONTACT_EXISTS" == error["error_code"]
    answer = post("", members("ana@b.co", update=True, merge_fields={"FNAME": "Ana", "OTHER": "x"})).json()
    assert [{"email_address": "ana@b.co", "status": "unsubscribed"}] == answer["updated_members"]
    [account] = sandbox.told("mailchimp", "ana@b.co")
    assert [{"FNAME": "Ana"}] == [person["values"] for person in account["people"]]


def test_errors_are_told_by_address_in_an_answer_of_200(post: Any) -> None:
    post("/merge-fields", {"tag": "LTV", "name": "value", "type": "number"})
    answer = post("", members("a@refused.example", status="subscribed"))
    assert (200, 1) == (answer.status_code, answer.json()["error_count"])
    [error] = post("", members("a@b.co", status="subscribed", merge_fields={"LTV": "x"})).json()["errors"]
    assert "LTV" == error["field"]
    [error] = post("", members("a@b.co")).json()["errors"]
    assert "status" == error["field"]


@pytest.mark.parametrize(
    "body",
    [
        {"tag": "ELEVENCHARS", "name": "x", "type": "text"},
        {"tag": "lower", "name": "x", "type": "text"},
        {"tag": "OK", "name": "x", "type": "boolean"},
        {"tag": "FNAME", "name": "x", "type": "text"},
    ],
)
def test_a_merge_field_that_cannot_be_is_refused(post: Any, body: dict[str, Any]) -> None:
    assert 400 == post("/merge-fields", body).status_code


def test_an_event_is_of_a_member(post: Any) -> None:
    path = f"/members/{md5(b'ana@b.co').hexdigest()}/events"
    assert 404 == post(path, {"name": "entered"}).status_code
    post("", members("ana@b.co", status="pending"))
    assert 204 == post(path, {"name": "entered", "properties": {"a": "b"}}).status_code
    assert 400 == post(path, {"name": "entered", "properties": {"a": True}}).status_code


def test_who_is_not_in_the_audience_is_passed_over_by_a_segment(sandbox: Any, gateway: Any, post: Any) -> None:
    made = post("/segments", {"name": "vip", "static_segment": []}).json()["id"]
    post("", members("ana@b.co", status="pending"))
    assert 200 == post(f"/segments/{made}", {"members_to_add": ["ana@b.co", "bob@b.co"]}).status_code
    [account] = sandbox.told("mailchimp")
    assert [{"name": "vip", "members": ["ana@b.co"]}] == account["lists"]
    gateway.send("DELETE", f"{API}/segments/{made}", auth=("any", "key-us6"))
    assert 404 == post(f"/segments/{made}", {"members_to_add": ["ana@b.co"]}).status_code
