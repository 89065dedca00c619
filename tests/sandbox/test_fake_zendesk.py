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
    [cid, nobody, ann] = done["results"]  # in no order that anybody promised; who failed is not named
    assert {"status": "Created", "email": "a@b.co", "external_id": None} == {k: v for k, v in ann.items() if k != "id"}
    assert {"id": 1, "error": "UserUpdateError", "status": "Failed"} == {k: nobody[k] for k in nobody if k != "details"}
    assert "not properly formatted" in cid["details"]
    assert [{"name": "Ann"}] == values(sandbox, "a@b.co")


def test_users_who_are_known_are_asked_for_and_changed_together(sandbox, send, clock):
    ann = upsert(send, name="Ann", email="a@b.co", external_id="U1").json()["user"]["id"]
    bob = upsert(send, name="Bob", email="b@b.co").json()["user"]["id"]
    shown = send("GET", "/users/show_many?external_ids=u1,nobody").json()["users"]
    assert [(ann, "U1", {"vip": None})] == [(user["id"], user["external_id"], user["user_fields"]) for user in shown]
    assert [bob] == [user["id"] for user in send("GET", f"/users/show_many?ids={bob},7").json()["users"]]
    found = send("GET", "/users/search?query=email%3A%22A%40b.co%22+email%3A%22b%40b.co%22").json()["users"]
    assert [ann, bob] == [user["id"] for user in found]
    each = [{"id": ann, "user_fields": {"vip": True}}, {"external_id": "u7"}, {"id": bob, "email": "a@b.co"}]
    job = send("PUT", "/users/update_many", {"users": each}).json()["job_status"]
    clock.now += 1
    rows = send("GET", f"/job_statuses/{job['id']}").json()["job_status"]["results"]
    assert [2, 1, ann] == [row["id"] for row in rows]
    assert ["Failed", "Failed", "Updated"] == [row["status"] for row in rows]
    assert [{"name": "Ann", "vip": True}] == values(sandbox, "a@b.co")
    send("PUT", f"/users/update_many?ids={ann},{bob}", {"user": {"user_fields": {"vip": False}}})
    clock.now += 1
    assert [{"name": "Ann", "vip": False}, {"name": "Bob", "vip": False}] == values(sandbox, None)


def test_one_user_is_changed_without_a_name(sandbox, send):
    number = upsert(send, name="Ann", external_id="u1").json()["user"]["id"]
    body = {"user": {"email": "a@b.co", "user_fields": {"vip": True}}}
    assert 200 == send("PUT", f"/users/{number}", body).status_code
    assert [{"name": "Ann", "vip": True}] == values(sandbox, "a@b.co")
    assert 422 == send("PUT", f"/users/{number}", {"user": {"user_fields": {"vip": 1}}}).status_code
    assert 404 == send("PUT", "/users/7", body).status_code


def test_one_user_is_changed_five_times_a_minute(send, clock):
    number = upsert(send, name="Ann", external_id="u1").json()["user"]["id"]
    assert 200 == upsert(send, name="Ann", external_id="u1").status_code
    assert {200} == {send("PUT", f"/users/{number}", {"user": {}}).status_code for _ in range(4)}
    clock.now += 10
    for answer in (send("PUT", f"/users/{number}", {"user": {}}), upsert(send, external_id="u1")):
        assert (429, "50") == (answer.status_code, answer.headers["Retry-After"])
        assert answer.text.startswith("You have exceeded the rate limit for updating a single unique user")
        assert int(answer.headers["X-Rate-Limit-Remaining"]) > 0
    assert 201 == upsert(send, name="Bob", external_id="u2").status_code
    clock.now += 50
    assert 200 == upsert(send, external_id="u1").status_code


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


def test_a_field_is_deleted_and_its_key_is_not_given_out_again(sandbox, send):
    upsert(send, name="Ann", external_id="u1", user_fields={"vip": True})
    [field] = send("GET", "/user_fields").json()["user_fields"]
    assert [204, 404] == [send("DELETE", f"/user_fields/{field['id']}").status_code for _ in range(2)]
    assert {} == upsert(send, external_id="u1", user_fields={"vip": True}).json()["user"]["user_fields"]
    body = {"user_field": {"key": "vip", "title": "VIP", "type": "checkbox"}}
    assert 422 == send("POST", "/user_fields", body).status_code


def test_a_user_is_found_and_deleted_and_then_for_good(sandbox, send):
    number = upsert(send, name="Ann", email="a@b.co", external_id="u1").json()["user"]["id"]
    assert [number] == [user["id"] for user in send("GET", "/users/search?query=email:a%40b.co").json()["users"]]
    assert [number] == [user["id"] for user in send("GET", "/users/search?external_id=U1").json()["users"]]
    assert 404 == send("DELETE", f"/deleted_users/{number}").status_code
    assert [200, 404] == [send("DELETE", f"/users/{number}").status_code for _ in range(2)]
    assert [] == values(sandbox, "u1")
    assert [200, 404] == [send("DELETE", f"/deleted_users/{number}").status_code for _ in range(2)]


def test_a_profile_is_found_and_deleted_with_its_events(sandbox, send):
    for name in ("a@b.co", "b@b.co"):
        profile = {"source": "p", "type": "c", "name": "Ann", "identifiers": [{"type": "email", "value": name}]}
        event = {"source": "p", "type": "audience_entered", "properties": {}}
        made = send("POST", "/user_profiles/events", {"event": event, "profile": profile}).json()
    found = send("GET", "/user_profiles?identifier=p%3Ac%3Aemail%3Ab%40b.co").json()["profile"]
    assert made["profile_id"] == found["id"]
    assert [204, 404] == [send("DELETE", f"/user_profiles/{found['id']}").status_code for _ in range(2)]
    assert 404 == send("GET", "/user_profiles?identifier=p%3Ac%3Aemail%3Ab%40b.co").status_code
    [account] = sandbox.told("zendesk")
    assert ([{"email": "a@b.co"}], 2) == ([e["identifiers"] for e in account["events"]], len(account["people"]))


def test_an_event_is_kept_and_makes_the_user(sandbox, send):
    profile = {"source": "p", "type": "c", "name": "Ann", "identifiers": [{"type": "email", "value": "a@b.co"}]}
    event = {"source": "p", "type": "audience_entered", "properties": {"audience_key": "vip"}}
    assert 202 == send("POST", "/user_profiles/events", {"event": event, "profile": profile}).status_code
    [account] = sandbox.told("zendesk", "a@b.co")
    assert [({"audience_key": "vip"}, "audience_entered")] == [(e["properties"], e["name"]) for e in account["events"]]
    assert [{"name": "Ann"}] == values(sandbox, "a@b.co")
    for source in ("Zendesk", "s" * 41):
        bad = {"event": {**event, "source": source}, "profile": profile}
        assert 400 == send("POST", "/user_profiles/events", bad).status_code
    answer = send("POST", "/user_profiles/events", {"event": {**event, "properties": None}, "profile": profile})
    assert (400, ["code", "id", "title"]) == (answer.status_code, sorted(answer.json()["errors"][0]))


def test_the_cap_is_50_in_any_second_for_the_account_whatever_the_token(gateway, clock):
    def read(token):
        return gateway.send("GET", f"{API}/users/me", auth=("agent@acme.example/token", token))

    assert {200} == {read(f"token-{i % 2}").status_code for i in range(50)}
    answer = read("token-3")
    assert ("3000", "0") == (answer.headers["X-Rate-Limit"], answer.headers["X-Rate-Limit-Remaining"])
    assert (429, "1") == (answer.status_code, answer.headers["Retry-After"])
    clock.now += 1
    assert 200 == read("token-3").status_code


@pytest.mark.parametrize("auth", [None, ("agent@acme.example", "password"), ("agent/token", "token")])
def test_without_an_api_token_the_answer_is_401(gateway, auth):
    assert 401 == gateway.send("GET", f"{API}/users/me", auth=auth).status_code


# -- OAuth
GRANT = {"grant_type": "client_credentials", "client_id": "c", "client_secret": "s", "scope": "read write"}


@pytest.fixture
def grant(gateway):
    """Ask for an access token; a field that is None is left out."""

    def grant(**more):
        sent = {name: value for name, value in {**GRANT, **more}.items() if value is not None}
        return gateway.send("POST", "https://acme.zendesk.com/oauth/tokens", sent)

    return grant


def status(gateway, token):
    answer = gateway.send("GET", f"{API}/users/me", headers={"Authorization": f"Bearer {token}"})
    return answer.status_code, answer.json().get("error")


def test_a_granted_token_ends(gateway, grant, clock):
    first = grant(expires_in=301).json()
    assert ("bearer", 301, "read write") == (first["token_type"], first["expires_in"], first["scope"])
    assert "refresh_token" not in first
    clock.now += 300
    assert (200, None) == status(gateway, first["access_token"])
    second = grant().json()["access_token"]
    clock.now += 1
    assert (401, "invalid_token") == status(gateway, first["access_token"])
    assert (200, None) == status(gateway, second)


@pytest.mark.parametrize(
    ("more", "answered"),
    [
        ({"grant_type": "password"}, (400, "unsupported_grant_type")),
        ({"client_secret": None}, (401, "invalid_client")),
        ({"scope": None}, (400, "invalid_scope")),
        ({"scope": "read everything"}, (400, "invalid_scope")),
        ({"scope": "users:read users:write"}, (201, None)),
        ({"expires_in": 300}, (400, "invalid_request")),
        ({"expires_in": 172_800}, (400, "invalid_request")),
    ],
)
def test_a_grant_needs_a_client_and_scopes(grant, more, answered):
    answer = grant(**more)
    assert answered == (answer.status_code, answer.json().get("error"))


def test_a_grant_is_asked_for_in_json(gateway):
    answer = gateway.send("POST", "https://acme.zendesk.com/oauth/tokens", data=GRANT)
    assert 400 == answer.status_code


def test_a_token_that_nobody_granted_is_refused(gateway, grant):
    head, _, number = grant().json()["access_token"].rpartition("-")
    assert (401, "invalid_token") == status(gateway, f"{head}-{int(number) + 1}")


def test_a_fault_expires_tokens_and_no_client(sandbox, gateway, grant, clock):
    sandbox.fault(destination="zendesk", expire=2)
    for _ in range(2):
        token = grant().json()["access_token"]
        assert (200, None) == status(gateway, token)
        clock.now += 2
        assert 401 == status(gateway, token)[0]
