"""The fake Facebook Custom Audiences."""

from hashlib import sha256

import pytest

API = "https://graph.facebook.com/v27.0"
TOKEN = {"Authorization": "Bearer token"}
NEW = {"name": "vip", "subtype": "CUSTOM", "customer_file_source": "USER_PROVIDED_ONLY"}


@pytest.fixture
def send(gateway):
    return lambda method, path, body=None: gateway.send(method, API + path, body, headers=TOKEN)


@pytest.fixture
def audience(send):
    return send("POST", "/act_1/customaudiences", NEW).json()["id"]


def hashed(email):
    return sha256(email.encode()).hexdigest()


def payload(*rows):
    return {"payload": {"schema": ["EXTERN_ID", "EMAIL"], "data": [list(row) for row in rows]}}


def members(sandbox, identifier=None, which="members"):
    [account] = sandbox.told("facebook-custom-audiences", identifier)
    return [member for one in account["lists"] for member in one[which]]


def test_a_version_that_was_retired_answers_nothing(gateway):
    answer = gateway.send("GET", "https://graph.facebook.com/v24.0/act_1/customaudiences", headers=TOKEN)
    assert (400, 2635) == (answer.status_code, answer.json()["error"]["code"])


def test_the_same_name_makes_another_audience(send, audience):
    assert audience != send("POST", "/act_1/customaudiences", NEW).json()["id"]
    listed = send("GET", "/act_1/customaudiences?fields=id,name&limit=1").json()
    assert [{"id": audience, "name": "vip"}] == listed["data"]
    after = listed["paging"]["cursors"]["after"]
    assert 1 == len(send("GET", f"/act_1/customaudiences?fields=id,name&limit=1&after={after}").json()["data"])


def test_members_are_added_and_removed_by_any_key(sandbox, send, audience):
    rows = [("u1", hashed("a@b.co")), ("u1", hashed("a2@b.co")), ("", hashed("c@b.co"))]
    answer = send("POST", f"/{audience}/users", payload(*rows)).json()
    assert (3, 0) == (answer["num_received"], answer["num_invalid_entries"])
    assert [{"EXTERN_ID": "u1", "EMAIL": hashed("a@b.co")}] == members(sandbox, "A@b.co")
    send("DELETE", f"/{audience}/users", payload(("u1", "")))
    assert [{"EMAIL": hashed("c@b.co")}] == members(sandbox)


def test_an_external_id_alone_matches_nobody_unless_it_came_with_another_key(sandbox, send, audience):
    other = send("POST", "/act_1/customaudiences", NEW).json()["id"]
    send("POST", f"/{audience}/users", payload(("u1", hashed("a@b.co")), ("u2", "")))
    send("POST", f"/{other}/users", payload(("u1", ""), ("u2", "")))
    assert [{"EXTERN_ID": "u1", "EMAIL": hashed("a@b.co")}, {"EXTERN_ID": "u1"}] == members(sandbox)
    assert [{"EXTERN_ID": "u2"}] * 2 == members(sandbox, which="unmatched")
    elsewhere = send("POST", "/act_2/customaudiences", NEW).json()["id"]
    send("POST", f"/{elsewhere}/users", payload(("u1", "")))
    assert 2 == len(members(sandbox)), "an account knows nothing of another's"
    send("DELETE", f"/{other}/users", payload(("u2", "")))
    assert [{"EXTERN_ID": "u2"}, {"EXTERN_ID": "u1"}] == members(sandbox, which="unmatched")


def test_people_leave_all_audiences_of_one_account_at_once(sandbox, send, audience):
    others = [send("POST", f"/act_{number}/customaudiences", NEW).json()["id"] for number in (1, 2)]
    for each in (audience, *others):
        send("POST", f"/{each}/users", payload(("u1", hashed("a@b.co")), ("", hashed("c@b.co"))))
    answer = send("DELETE", "/act_1/usersofanyaudience", payload(("", hashed("a@b.co")))).json()
    assert (1, 0) == (answer["num_received"], answer["num_invalid_entries"])
    assert 1 == len(members(sandbox, "a@b.co"))
    assert 3 == len(members(sandbox, "c@b.co"))


def test_an_audience_that_is_being_changed_says_so_in_a_400(sandbox, send, audience):
    sandbox.fault(destination="facebook-custom-audiences", status=409)
    answer = send("POST", f"/{audience}/users", payload(("", hashed("a@b.co"))))
    error = answer.json()["error"]
    assert (400, 2650, 1870145) == (answer.status_code, error["code"], error["error_subcode"])


def test_bad_hashes_are_only_counted(sandbox, send, audience):
    rows = [("u1", "a@b.co"), ("u2", hashed("")), ("u3@refused.example", ""), ("", ""), ("u4", hashed("d@b.co"))]
    answer = send("POST", f"/{audience}/users", payload(*rows))
    assert (200, 5, 4) == (answer.status_code, answer.json()["num_received"], answer.json()["num_invalid_entries"])
    assert ["u4"] == [member["EXTERN_ID"] for member in members(sandbox)]


@pytest.mark.parametrize(
    "given",
    [
        {"schema": ["EXTERN_ID"], "data": [["u1", "more"]]},
        {"schema": ["NOTHING"], "data": [["u1"]]},
        {"schema": ["EXTERN_ID"], "data": []},
        {"schema": ["EXTERN_ID"], "data": [["u1"]] * 10_001},
    ],
)
def test_a_bad_payload_is_an_invalid_parameter(send, audience, given):
    answer = send("POST", f"/{audience}/users", {"payload": given})
    assert (400, 100) == (answer.status_code, answer.json()["error"]["code"])


def test_an_unknown_audience_is_said_to_be_missing(send):
    error = send("POST", "/123/users", payload(("u1", ""))).json()["error"]
    assert (100, 33) == (error["code"], error["error_subcode"])


def test_without_a_token_the_answer_is_code_190(gateway):
    answer = gateway.send("GET", f"{API}/act_1/customaudiences")
    assert (400, 190) == (answer.status_code, answer.json()["error"]["code"])
    assert 200 == gateway.send("GET", f"{API}/act_1/customaudiences?access_token=token").status_code


def test_throttling_hides_in_a_400(sandbox, send):
    sandbox.fault(destination="facebook-custom-audiences", status=429)
    answer = send("GET", "/act_1/customaudiences")
    assert (400, 80003, True) == (answer.status_code, *(answer.json()["error"][k] for k in ("code", "is_transient")))
    assert "X-Business-Use-Case-Usage" in answer.headers


def test_there_is_no_cap(send):
    assert {200} == {send("GET", "/act_1/customaudiences").status_code for _ in range(120)}
