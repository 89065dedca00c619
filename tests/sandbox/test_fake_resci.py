"""The fake Retention Science."""

from typing import Any

API = "https://events.retentionscience.com/v2"
KEY = {"authorization": "ApiKey key"}


def test_somebody_is_named_by_an_id_or_an_address(sandbox: Any, gateway: Any) -> None:
    body = {"traits": {"email": "a@b.co", "vip": True}}
    assert 200 == gateway.send("POST", f"{API}/identify", body, headers=KEY).status_code
    assert 400 == gateway.send("POST", f"{API}/identify", {"traits": {"vip": True}}, headers=KEY).status_code
    assert 400 == gateway.send("POST", f"{API}/track", {"userId": "u1", "event": "In"}, headers=KEY).status_code
    [account] = sandbox.told("resci", "a@b.co")
    assert [True] == [person["values"]["vip"] for person in account["people"]]


def test_a_key_of_another_form_is_refused(gateway: Any) -> None:
    assert 401 == gateway.send("POST", f"{API}/identify", {}, headers={"authorization": "Bearer key"}).status_code
