"""The fake Zendesk."""

import pytest

API = "https://acme.zendesk.com/api/v2"
AGENT = ("agent@acme.example/token", "token")


@pytest.fixture
def send(gateway):
    def send(method, path, body=None):
        return gateway.send(method, API + path, body, auth=AGENT)

    send("POST", "/user_fields", {"user_field": {"key": "vip", "title": "VIP", "type": "checkbox"}})
    return send


def upsert(send, **user):
    return send("POST", "/users/create_or_update", {"user": user})


def values(sandbox, identifier):
    [account] = sandbox.told("zendesk", identifier)
    return [person["values"] for person in account["people"]]


def test_a_user_is_created_then_updated(sandbox, send):
    first = upsert(send, name="Ann", email="A@b.co", external_id="U1", user_fields={"vip": True})
    second = upsert(send, external_id="u1", user_fields={"vip": False})
    assert (201, 200) == (first.status_code, second.status_code)
    assert first.json()["user"]["id"] == second.json()["user"]["id"]
    assert [{"name": "Ann", "vip": False}] == values(sandbox, "a@b.co")


def test_a_field_that_does_not_exist_is_dropped_without_a_word(sandbox, send):
    assert 201 == upsert(send, name="Ann", email="a@b.co", user_fields={"nothing": 1}).status_code
    assert [{"name": "Ann"}] == values(sandbox, "a@b.co")


@pytest.mark.parametrize(
    ("user", "wrong"),
    [
        ({"email": "a@b.co"}, "name"),
        ({"name": "Ann"}, "base"),
        ({"name": "Ann", "email": "nobody"}, "email"),
        ({"name": "Ann", "email": "a@refused.example"}, "email"),
        ({"name": "Ann", "email": "a@b.co", "user_fields": {"vip": "yes"}}, "vip"),
    ],
)
def test_a_bad_user_is_a_422_that_names_the_field(send, user, wrong):
    answer = upsert(send, **user)
    assert (422, "RecordInvalid") == (answer.status_code, answer.json()["error"])
    assert {wrong} == set(answer.json()["details"])


def test_an_email_of_somebody_else_is_a_duplicate(send):
    upsert(send, name="Ann", email="a@b.co", external_id="u1")
    upsert(send, name="Bob", email="b@b.co", external_id="u2")
    answer = upsert(send, name="Bob", email="a@b.co", external_id="u2")
    assert "DuplicateValue" == answer.json()["details"]["email"][0]["error"]


def test_a_job_is_queued_works_and_completes_with_results_by_item(sandbox, send, clock):
    users = [{"name": "Ann", "email": "a@b.co"}, {"email": "b@b.co"}, {"name": "Cid", "email": "c@refused.example"}]
    job = send("POST", "/users/create_or_update_many", {"users": users}).json()["job_status"]

    def poll():
        return send("GET", f"/job_statuses/{job['id']}.json").json()["job_status"]

    assert ("queued", None, 3) == (job["status"], job["results"], job["total"])
    clock.now += 0.5
    assert ("working", []) == (poll()["status"], values(sandbox, "a@b.co"))
    clock.now += 0.5
    done = poll()
    assert ("completed", 3) == (done["status"], done["progress"])
    assert [("Created", True), (None, False), (None, False)] == [
        (r.get("status"), r["success"]) for r in done["results"]
    ]
    assert [1, 2] == [result["index"] for result in done["results"] if not result["success"]]
    assert [{"name": "Ann"}] == values(sandbox, "a@b.co")


def test_a_job_completes_though_nobody_polls(sandbox, send, clock):
    send("POST", "/users/create_or_update_many", {"users": [{"name": "Ann", "email": "a@b.co"}]})
    clock.now += 1
    assert [{"name": "Ann"}] == values(sandbox, "a@b.co")


def test_at_most_30_jobs_wait(send, clock):
    body = {"users": [{"name": "Ann", "email": "a@b.co"}]}
    assert {200} == {send("POST", "/users/create_or_update_many", body).status_code for _ in range(30)}
    answer = send("POST", "/users/create_or_update_many", body)
    assert (429, "TooManyJobs") == (answer.status_code, answer.json()["error"])
    clock.now += 1
    assert 200 == send("POST", "/users/create_or_update_many", body).status_code


def test_a_job_has_at_most_100_users(send):
    users = [{"name": "Ann", "email": f"a{i}@b.co"} for i in range(101)]
    assert 400 == send("POST", "/users/create_or_update_many", {"users": users}).status_code


def test_a_field_is_made_once_and_listed(send):
    body = {"user_field": {"key": "vip", "title": "VIP", "type": "checkbox"}}
    assert 422 == send("POST", "/user_fields", body).status_code
    assert ["vip"] == [field["key"] for field in send("GET", "/user_fields.json").json()["user_fields"]]


def test_a_user_is_found_and_deleted(sandbox, send):
    number = upsert(send, name="Ann", email="a@b.co", external_id="u1").json()["user"]["id"]
    assert [number] == [user["id"] for user in send("GET", "/users/search?query=email:a%40b.co").json()["users"]]
    assert [number] == [user["id"] for user in send("GET", "/users/search?external_id=U1").json()["users"]]
    assert [200, 404] == [send("DELETE", f"/users/{number}").status_code for _ in range(2)]
    assert [] == values(sandbox, "u1")


def test_an_event_is_kept_and_makes_the_user(sandbox, send):
    profile = {"source": "p", "type": "c", "name": "Ann", "identifiers": [{"type": "email", "value": "a@b.co"}]}
    event = {"source": "p", "type": "audience_entered", "properties": {"audience_key": "vip"}}
    assert 202 == send("POST", "/user_profiles/events", {"event": event, "profile": profile}).status_code
    [account] = sandbox.told("zendesk", "a@b.co")
    assert [({"audience_key": "vip"}, "audience_entered")] == [(e["properties"], e["name"]) for e in account["events"]]
    assert [{"name": "Ann"}] == values(sandbox, "a@b.co")
    answer = send("POST", "/user_profiles/events", {"event": {**event, "properties": None}, "profile": profile})
    assert (400, ["code", "id", "title"]) == (answer.status_code, sorted(answer.json()["errors"][0]))


def test_the_cap_is_50_in_any_second_for_the_account_whatever_the_token(gateway, clock):
    def read(token):
        return gateway.send("GET", f"{API}/users/me", auth=("agent@acme.example/token", token))

    assert {200} == {read(f"token-{i % 2}").status_code for i in range(50)}
    answer = read("token-3")
    assert (429, "1") == (answer.status_code, answer.headers["Retry-After"])
    clock.now += 1
    assert 200 == read("token-3").status_code


@pytest.mark.parametrize("auth", [None, ("agent@acme.example", "password"), ("agent/token", "token")])
def test_without_an_api_token_the_answer_is_401(gateway, auth):
    assert 401 == gateway.send("GET", f"{API}/users/me", auth=auth).status_code
