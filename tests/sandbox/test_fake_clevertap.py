"""The fake CleverTap over real HTTP."""

from typing import Any

API = "https://eu1.api.clevertap.com/1"
KEY = {"X-CleverTap-Account-Id": "W8W", "X-CleverTap-Passcode": "key"}


def upload(gateway: Any, *records: dict[str, Any], headers: dict[str, str] = KEY) -> Any:
    return gateway.send("POST", f"{API}/upload", {"d": [*records]}, headers=headers)


def profile(identity: Any) -> dict[str, Any]:
    return {"type": "profile", "identity": identity, "ts": 7, "profileData": {"vip": True}}


def test_records_that_are_not_right_come_back_and_the_others_are_taken(sandbox: Any, gateway: Any) -> None:
    event = {"type": "event", "identity": "u1", "ts": 7, "evtName": "Entered", "evtData": {"n": 1}}
    answer = upload(gateway, profile("u1"), profile(7), event).json()
    assert ("partial", 2) == (answer["status"], answer["processed"])
    assert [profile(7)] == [each["record"] for each in answer["unprocessed"]]
    [account] = sandbox.told("clevertap", "u1")
    assert ([{"vip": True}], ["Entered"]) == (
        [person["values"] for person in account["people"]],
        [each["name"] for each in account["events"]],
    )


def test_uploads_are_of_1_to_1000_records_of_a_known_account(gateway: Any) -> None:
    assert 400 == upload(gateway).status_code
    assert 400 == upload(gateway, *[profile("u1")] * 1_001).status_code
    assert 401 == upload(gateway, profile("u1"), headers={"X-CleverTap-Passcode": "key"}).status_code


def test_somebody_is_deleted(sandbox: Any, gateway: Any) -> None:
    upload(gateway, profile("u1"))
    told = {"identity": ["u1", "u2"]}
    assert 200 == gateway.send("POST", f"{API}/delete/profiles.json", told, headers=KEY).status_code
    assert [[]] == [account["people"] for account in sandbox.told("clevertap")]
