"""Problems that people reported about products that do this job, each as its whole kind: what a run does and says."""

import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from pipeline.cli import main
from tests.pipeline.running import Event, dead_letters, summary_of, write_events
from tests.sending.vendor_server import Answer, Seen, vendor

Capture = pytest.CaptureFixture[str]
DAY_1, DAY_2, DAY_3 = (f"2026-01-0{day}T09:00:00Z" for day in (5, 6, 7))
SECRETS = ("HS", "ZD", "FB", "IT", "BRAZE", "HOOK")
HEAD = """\
workspace: shop
computations:
  - {name: score, kind: trait}
  - {name: vip, kind: audience}
connections:
"""
ONE = "syncs: [{computation: score}]}"
CONNECTIONS = {
    "webhook": f'{{name: hook, destination: webhook, settings: {{url: "https://hook.example/in"}}, {ONE}',
    "braze": '{name: braze, destination: braze, '
    f'settings: {{endpoint: "https://rest.iad-01.braze.com", api_key: "${{BRAZE}}"}}, {ONE}',
    "hubspot": f'{{name: hubspot, destination: hubspot, settings: {{access_token: "${{HS}}"}}, {ONE}',
    "zendesk": f'{{name: zendesk, destination: zendesk, settings: {{subdomain: acme, oauth_token: "${{ZD}}"}}, {ONE}',
    "iterable": f'{{name: iterable, destination: iterable, settings: {{api_key: "${{IT}}", project: hybrid}}, {ONE}',
    "facebook": '{name: meta, destination: facebook-custom-audiences, settings: {ad_account_id: "123", '
    'access_token: "${FB}"}, syncs: [{computation: vip}]}',
}  # fmt: skip


def person(number: int, at: str = DAY_1, kind: str = "user_id", **traits: Any) -> Event:
    ids = [{"type": kind, "id": f"u{number}" if kind == "user_id" else f"a{number}@example.com"}]
    return {"type": "profile", "profile_id": f"p{number}", "at": at, "external_ids": ids, "traits": traits}


def score(number: int, at: str, value: Any) -> Event:
    return {"type": "trait", "profile_id": f"p{number}", "at": at, "computation": "score", "value": value}


def vip(number: int, at: str, member: bool = True) -> Event:
    return {"type": "audience", "profile_id": f"p{number}", "at": at, "computation": "vip", "member": member}


def scored(numbers: range | list[int], at: str = DAY_1, kind: str = "user_id", **traits: Any) -> list[Event]:
    return [event for n in numbers for event in (person(n, DAY_1, kind, **traits), score(n, at, n))]


@dataclass
class Case:
    """A state directory, and runs of it before a scripted vendor."""

    root: Path
    connections: str
    url: str = ""
    head: str = HEAD
    codes: list[int] = field(default_factory=list)

    def run(self, events: list[Event], *more: str) -> int:
        (self.root / "workspace.yaml").write_text(self.head + self.connections)
        state = self.root / "state"
        path = write_events(self.root / f"{len(self.codes)}.jsonl", *events)
        new = [] if state.exists() else ["--new-state"]
        common = ["--workspace", str(self.root / "workspace.yaml"), "--state", str(state), "--gateway", self.url]
        self.codes.append(main(["run", *common, *new, *more, *(["--events", str(path)] if events else [])]))
        return self.codes[-1]

    def counts(self, name: str, *what: str) -> tuple[int, ...]:
        found = summary_of(self.root / "state")["connections"][name]
        return tuple(found[each] for each in what)


@pytest.fixture
def case(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Case]:
    for name in SECRETS:
        monkeypatch.setenv(name, "a-key-of-ours")
    return lambda slug: Case(tmp_path, f"  - {CONNECTIONS[slug]}\n")


def path_of(seen: Seen) -> str:
    return "/" + seen.target.partition("/")[2].partition("?")[0]


class TestOneRecordIsNotTheConnection:
    """A refusal of one person is that person's, where others are taken."""

    @pytest.mark.parametrize("status", [401, 403, 404, 405, 410])
    def test_a_receiver_that_does_not_know_one_person(self, case: Callable[[str], Case], status: int) -> None:
        told: list[str] = []

        def answer(seen: Seen) -> Answer:
            if seen.json["userId"] == "u2":
                return Answer(status, {"error": "no such customer"})
            told.append(f"{seen.json['userId']} {seen.json['traits']['score']}")
            return Answer()

        shop = case("webhook")
        with vendor(answer) as server:
            shop.url = server.url
            assert 0 == shop.run(scored([1, 3, 4, 5]))
            told.clear()
            later = [person(2), *(score(n, DAY_2, 100 + n) for n in (1, 2, 3, 4, 5))]
            assert 0 == shop.run(later)
            assert {"u1 101", "u3 103", "u4 104", "u5 105"} == set(told)
            [letter] = dead_letters(shop.root / "state")
            assert "p2" == letter["payload"]["profile_id"]
            told.clear()
            assert 0 == shop.run(later)
            assert [] == told

    @pytest.mark.parametrize("status", [401, 403, 404, 405, 410])
    def test_an_address_that_takes_nobody_stops_the_connection(
        self, case: Callable[[str], Case], status: int, capsys: Capture
    ) -> None:
        shop = case("webhook")
        with vendor(lambda seen: Answer(status, {"error": "no"})) as server:
            shop.url = server.url
            assert 3 == shop.run(scored(range(1, 40)))
            assert (0, 39) == shop.counts("hook", "rejected", "waiting")
            assert len(server.seen) < 25
        assert "STOPPED" in capsys.readouterr().out

    def test_a_user_who_is_gone_at_zendesk(self, case: Callable[[str], Case]) -> None:
        fields: list[Any] = []
        shop = case("zendesk")

        def answer(seen: Seen) -> Answer:
            path = path_of(seen)
            if path.endswith("/user_fields"):
                if seen.method == "POST":
                    fields.append(seen.json["user_field"])
                return Answer(
                    201 if seen.method == "POST" else 200, {"user_fields": fields, "meta": {"has_more": False}}
                )
            if "/show_many" in path:
                return Answer(json={"users": []})
            if seen.json["user"]["external_id"] == "u5":
                return Answer(404, {"error": "RecordNotFound", "description": "Not found"})
            return Answer(json={"user": {"id": 1}})

        with vendor(answer) as server:
            shop.url = server.url
            assert 0 == shop.run(scored(range(1, 21), name="A B"))
            assert (19, 1, 0) == shop.counts("zendesk", "delivered", "rejected", "waiting")


def test_a_field_that_was_deleted_at_zendesk_between_two_runs(case: Callable[[str], Case]) -> None:
    fields: dict[str, Any] = {}
    taken: set[str] = set()
    values: dict[str, Any] = {}

    def answer(seen: Seen) -> Answer:
        path = path_of(seen)
        if path.endswith("/user_fields"):
            if seen.method == "POST" and (field := seen.json["user_field"])["key"] not in taken:
                fields[field["key"]] = field
            elif seen.method == "POST":
                return Answer(422, {"error": "RecordInvalid"})
            return Answer(json={"user_fields": list(fields.values()), "meta": {}})
        if "/show_many" in path:
            shown = [{"id": user, "external_id": user, "user_fields": dict.fromkeys(fields)} for user in values]
            return Answer(json={"users": shown})
        for user in seen.json.get("users") or [seen.json["user"]]:
            values[str(user.get("id") or user["external_id"])] = user["user_fields"]
        job = {"id": "j", "status": "completed", "results": [{"id": user} for user in values]}
        return Answer(json={"user": {"id": 1, "user_fields": dict.fromkeys(fields)}, "job_status": job})

    shop = case("zendesk")
    with vendor(answer) as server:
        shop.url = server.url
        assert 0 == shop.run(scored(range(1, 6), name="A B"))
        assert {f"u{n}": {"score": n} for n in range(1, 6)} == values
        taken |= set(fields)  # Zendesk does not give the key of a deleted field out again
        fields.clear()
        assert 3 == shop.run([score(n, DAY_2, 10 * n) for n in range(1, 6)])
        assert (0, 0, 5) == shop.counts("zendesk", "delivered", "rejected", "waiting")
        assert {"score": 1} == values["u1"]
        taken.clear()
        assert 0 == shop.run([])
        assert {f"u{n}": {"score": 10 * n} for n in range(1, 6)} == values


def test_names_without_latin_letters_stay_apart(case: Callable[[str], Case]) -> None:
    names = ("高額購入者", "解約予定者", "Большие траты", "Частые заказы")
    properties: list[dict[str, Any]] = [{"name": "email"}]
    contacts: dict[str, Any] = {}

    def answer(seen: Seen) -> Answer:
        path = path_of(seen)
        if path.endswith("/properties/contacts"):
            return Answer(json={"results": properties})
        if path.endswith("/properties/contacts/batch/create"):
            properties.extend(seen.json["inputs"])
            return Answer(201, {"results": seen.json["inputs"]})
        if path.endswith("/batch/read"):
            return Answer(json={"results": [{"id": "1", "properties": contacts}] if contacts else []})
        for each in seen.json["inputs"]:
            contacts.update(each["properties"])
        return Answer(
            200, {"results": [{"id": "1", "objectWriteTraceId": i["objectWriteTraceId"]} for i in seen.json["inputs"]]}
        )

    shop = case("hubspot")
    syncs = ", ".join(f"{{computation: {name}}}" for name in names)
    shop.connections = (
        f'  - {{name: hubspot, destination: hubspot, settings: {{access_token: "${{HS}}"}}, syncs: [{syncs}]}}\n'
    )
    kinds = ("audience", "audience", "trait", "trait")
    declared = "".join(f"  - {{name: {name}, kind: {kind}}}\n" for name, kind in zip(names, kinds, strict=True))
    shop.head = HEAD.replace("connections:\n", declared + "connections:\n")

    def at(day: str, name: str, value: Any) -> Event:
        kind = {"type": "audience", "member": value} if isinstance(value, bool) else {"type": "trait", "value": value}
        return {**kind, "profile_id": "p1", "at": day, "computation": name}

    with vendor(answer) as server:
        shop.url = server.url
        events = [person(1, kind="email"), at(DAY_1, names[0], True), at(DAY_1, names[1], True)]
        assert 0 == shop.run([*events, at(DAY_1, names[2], 10), at(DAY_1, names[3], 99)])
        assert 0 == shop.run([at(DAY_2, names[1], False)])
    told = {name: value for name, value in contacts.items() if name != "email"}
    assert 4 == len(told)
    assert {"true", "false", "10", "99"} == {str(value).lower() for value in told.values()}


class TestHintsThatCannotBe:
    @pytest.mark.parametrize("hint", ["0", "-1", "Thu, 01 Jan 1998 00:00:00 GMT", "nan"])
    def test_a_wait_of_nothing_is_no_hint(self, case: Callable[[str], Case], hint: str) -> None:
        began: list[float] = []

        def answer(seen: Seen) -> Answer:
            began.append(seen.at)
            return Answer() if seen.at - began[0] > 2 else Answer(429, {}, headers={"Retry-After": hint})

        shop = case("webhook")
        with vendor(answer) as server:
            shop.url = server.url
            assert 0 == shop.run(scored([1, 2, 3]))
            assert len(server.seen) < 25

    def test_a_moment_is_no_duration(self, case: Callable[[str], Case]) -> None:
        def answer(seen: Seen) -> Answer:
            return Answer(429, headers={"Retry-After": str(int(time.time()) + 2)}) if seen.number == 0 else Answer()

        shop = case("webhook")
        with vendor(answer) as server:
            shop.url = server.url
            assert 0 == shop.run(scored([1, 2]))


def test_a_server_error_of_one_record_holds_no_other(case: Callable[[str], Case]) -> None:
    told: list[str] = []

    def answer(seen: Seen) -> Answer:
        ids = [each["external_id"] for each in seen.json["attributes"]]
        if "u2" in ids:
            return Answer(500, {"message": "Internal Server Error"})
        told.extend(ids)
        return Answer(201, {"message": "success", "attributes_processed": len(ids)})

    shop = case("braze")
    with vendor(answer) as server:
        shop.url = server.url
        assert 4 == shop.run(scored(range(1, 5)), "--retry-for", "5s")
        assert ["u1", "u3", "u4"] == sorted(told)
        assert (3, 1) == shop.counts("braze", "delivered", "waiting")


class Meta:
    """Audiences as Meta keeps them; `refuse` answers uploads of members instead."""

    def __init__(self, refuse: Callable[[Seen], Answer | None] = lambda seen: None) -> None:
        self.audiences: dict[str, str] = {}
        self.rows: list[Any] = []
        self.created = 900
        self.refuse = refuse

    def __call__(self, seen: Seen) -> Answer:
        if answer := self.refuse(seen):
            return answer
        if path_of(seen).endswith("/customaudiences"):
            if seen.method == "GET":
                found = [{"id": i, "name": n, "subtype": "CUSTOM"} for n, i in self.audiences.items()]
                return Answer(json={"data": found})
            self.audiences[seen.json["name"]] = str(self.created + len(self.audiences))
            return Answer(json={"id": self.audiences[seen.json["name"]]})
        data = seen.json["payload"]["data"]
        self.rows += [[seen.method, *row] for row in data]
        return Answer(json={"num_received": len(data), "num_invalid_entries": 0, "session_id": "1"})


def meta_error(code: int, message: str, sub: int = 0, **more: Any) -> Answer:
    error = {"message": message, "type": "OAuthException", "code": code, "error_subcode": sub, **more}
    return Answer(400, {"error": error})


def members(numbers: range | list[int]) -> list[Event]:
    return [event for n in numbers for event in (person(n, kind="email"), vip(n, DAY_1))]


def test_an_audience_that_is_not_everywhere_yet_is_asked_again(case: Callable[[str], Case]) -> None:
    late: list[int] = []

    def refuse(seen: Seen) -> Answer | None:
        if path_of(seen).endswith("/users") and not late:
            late.append(1)
            return meta_error(803, "(#803) Some of the aliases you requested do not exist: users")
        return None

    shop, meta = case("facebook"), Meta(refuse)
    with vendor(meta) as server:
        shop.url = server.url
        assert 0 == shop.run(members([1]))
        assert 1 == len(meta.rows)


@pytest.mark.parametrize(
    ("code", "words", "said"),
    [
        (2635, "(#2635) You are calling a deprecated version of the Ads API.", "api_version"),
        (2655, "(#2655) The Custom Audience terms have not been accepted", "Custom Audience Terms"),
    ],
    ids=["version", "terms"],
)
def test_a_version_that_was_retired_or_terms_that_were_withdrawn_stop_the_connection_and_reject_nobody(
    case: Callable[[str], Case], capsys: Capture, code: int, words: str, said: str
) -> None:
    retired: list[int] = []
    shop, meta = case("facebook"), Meta(lambda seen: meta_error(code, words) if retired else None)
    with vendor(meta) as server:
        shop.url = server.url
        assert 0 == shop.run(members([1, 2]), "--now", "2026-02-01T00:00:00Z")
        retired.append(1)
        assert 3 == shop.run([vip(2, "2026-02-02T00:00:00Z", False)], "--now", "2026-02-03T00:00:00Z")
        assert said in capsys.readouterr().out
        assert (0, 1) == shop.counts("meta", "rejected", "waiting")
        retired.clear()
        assert 0 == shop.run([], "--now", "2026-02-03T00:01:00Z")
        assert ["DELETE"] == [method for method, *_ in meta.rows[2:]]


def test_an_audience_that_was_deleted_is_made_again_with_everybody_in_it(
    case: Callable[[str], Case], capsys: Capture
) -> None:
    deleted: list[str] = []

    def refuse(seen: Seen) -> Answer | None:
        if path_of(seen).endswith("/users") and path_of(seen).split("/")[-2] in deleted:
            return meta_error(803, "(#803) Some of the aliases you requested do not exist")
        return None

    shop, meta = case("facebook"), Meta(refuse)
    with vendor(meta) as server:
        shop.url = server.url
        assert 0 == shop.run(members(range(1, 6)), "--now", "2026-02-01T00:00:00Z")
        deleted.append(meta.audiences.pop("vip"))
        meta.rows.clear()
        meta.created = 910
        events = [vip(1, "2026-02-02T00:00:00Z", False), *members([6])]
        assert 0 == shop.run(events, "--now", "2026-02-03T00:00:00Z")
        assert (
            "meta: the list `vip` was emptied at the vendor, or was gone there and made again"
            in capsys.readouterr().out
        )
        added = [tuple(row) for method, *row in meta.rows if method == "POST"]
        removed = [tuple(row) for method, *row in meta.rows if method == "DELETE"]
        assert 5 == len(set(added) - set(removed)), "2 to 6"
        assert 0 == shop.run([], "--now", "2026-02-03T02:00:00Z")
        assert len(added) == len([row for row in meta.rows if row[0] == "POST"]), "once"


def test_an_audience_that_is_refused_costs_few_requests_and_rejects_nobody(
    case: Callable[[str], Case], capsys: Capture
) -> None:
    def refuse(seen: Seen) -> Answer | None:
        if path_of(seen).endswith("/users"):
            words = "This audience cannot be edited due to integrity restrictions"
            return meta_error(100, "Invalid parameter", 1713228, error_user_msg=words)
        return None

    shop = case("facebook")
    with vendor(Meta(refuse)) as server:
        shop.url = server.url
        assert 3 == shop.run(members(range(200)))
        assert (0, 200) == shop.counts("meta", "rejected", "waiting")
        assert len(server.seen) < 15
    assert "integrity restrictions" in capsys.readouterr().out


def test_a_page_of_html_for_every_batch_stops_with_few_requests(case: Callable[[str], Case]) -> None:
    shop = case("braze")
    with vendor(lambda seen: Answer(400, body=b"<html>Bad Request</html>")) as server:
        shop.url = server.url
        assert 3 == shop.run(scored(range(200)))
        assert (0, 200) == shop.counts("braze", "rejected", "waiting")
        assert len(server.seen) < 40


class HubSpot:
    """Contacts and their properties."""

    def __init__(self, secondary: bool = True) -> None:
        self.contacts: dict[str, dict[str, Any]] = {}
        self.properties = [{"name": name} for name in ("email", "firstname", "lastname")]
        self.secondary = secondary  # reading finds a contact by its additional addresses too

    def find(self, address: str, secondary: bool = True) -> str | None:
        for number, each in self.contacts.items():
            others = each.get("hs_additional_emails", "").split(";")
            if each["email"] == address or (secondary and address in others):
                return number
        return None

    def __call__(self, seen: Seen) -> Answer:
        path = path_of(seen)
        if path.endswith("/properties/contacts"):
            return Answer(json={"results": self.properties})
        inputs = seen.json["inputs"]
        if path.endswith("/properties/contacts/batch/create"):
            self.properties.extend(inputs)
            return Answer(201, {"results": inputs})
        if path.endswith("/batch/read"):
            found = [n for n in (self.find(each["id"], self.secondary) for each in inputs) if n]
            wanted = seen.json["properties"]
            return Answer(
                json={"results": [{"id": n, "properties": {k: self.contacts[n].get(k) for k in wanted}} for n in found]}
            )
        if missing := self._missing(inputs):
            fault = f'[{{"isValid":false,"error":"PROPERTY_DOESNT_EXIST","name":"{missing}"}}]'
            message = f"Property values were not valid: {fault}"
            return Answer(400, {"status": "error", "category": "VALIDATION_ERROR", "message": message})
        if path.endswith("/batch/create"):
            return self._create(inputs)
        for each in inputs:
            self.contacts[each["id"]].update(each["properties"])
        return Answer(
            json={"results": [{"id": i["id"], "objectWriteTraceId": i["objectWriteTraceId"]} for i in inputs]}
        )

    def _missing(self, inputs: list[Any]) -> str:
        known = {each["name"] for each in self.properties}
        return next((name for each in inputs for name in each["properties"] if name not in known), "")

    def _create(self, inputs: list[Any]) -> Answer:
        for each in inputs:
            if number := self.find(each["properties"]["email"]):
                message = f"Contact already exists. Existing ID: {number}"
                return Answer(409, {"status": "error", "category": "CONFLICT", "message": message})
        for each in inputs:
            self.contacts[str(100 + len(self.contacts))] = dict(each["properties"])
        return Answer(
            201, {"results": [{"id": "1", "objectWriteTraceId": each["objectWriteTraceId"]} for each in inputs]}
        )


def test_a_property_that_was_deleted_is_made_again_in_the_same_run(case: Callable[[str], Case]) -> None:
    shop, hubspot = case("hubspot"), HubSpot()
    with vendor(hubspot) as server:
        shop.url = server.url
        assert 0 == shop.run(scored([1, 2], kind="email"))
        hubspot.properties[:] = [each for each in hubspot.properties if each["name"] != "score"]
        assert 0 == shop.run([score(n, DAY_2, 100 + n) for n in (1, 2)])
        assert {"101", "102"} == {str(each["score"]) for each in hubspot.contacts.values()}
        assert 0 == shop.run([score(1, DAY_3, 201)])
        assert {"201", "102"} == {str(each["score"]) for each in hubspot.contacts.values()}


def test_a_quota_that_is_used_up_between_two_runs_rejects_nobody_and_goes_on_when_there_is_more(
    case: Callable[[str], Case], capsys: Capture
) -> None:
    used_up: list[int] = []

    def answer(seen: Seen) -> Answer:
        if used_up:
            body = {"status": "error", "errorType": "RATE_LIMIT", "policyName": "DAILY", "message": "daily limit"}
            return Answer(429, body, headers={"Retry-After": "3"})
        return hubspot(seen)

    shop, hubspot = case("hubspot"), HubSpot()
    with vendor(answer) as server:
        shop.url = server.url
        assert 0 == shop.run(scored([1, 2], kind="email"))
        used_up.append(1)
        assert 0 != shop.run([score(n, DAY_2, 100 + n) for n in (1, 2)], "--retry-for", "1s")
        assert "its cap or the vendor makes it wait" in capsys.readouterr().out
        assert (0, 2) == shop.counts("hubspot", "rejected", "waiting")
        used_up.clear()
        time.sleep(3)
        assert 0 == shop.run([])
        assert {"101", "102"} == {str(each["score"]) for each in hubspot.contacts.values()}


def test_an_address_that_is_only_secondary_is_told(case: Callable[[str], Case]) -> None:
    shop, hubspot = case("hubspot"), HubSpot(secondary=False)
    hubspot.contacts["100"] = {"email": "new@example.com", "hs_additional_emails": "a1@example.com"}
    with vendor(hubspot) as server:
        shop.url = server.url
        assert 0 == shop.run(scored([1], kind="email"))
        assert "1" == str(hubspot.contacts["100"]["score"])
        assert 1 == len(hubspot.contacts)


def test_an_answer_with_a_long_header_is_an_answer(case: Callable[[str], Case]) -> None:
    policy = {"Content-Security-Policy": "default-src " + "a" * 9000}
    many = {f"X-Part-{n}": "1" for n in range(300)}
    shop = case("webhook")
    with vendor(lambda seen: Answer(headers=policy if seen.number == 0 else many)) as server:
        shop.url = server.url
        assert 0 == shop.run(scored([1, 2]), "--retry-for", "2s")
        assert 2 == len(server.seen)


def test_the_proxy_of_the_environment_is_used(case: Callable[[str], Case], monkeypatch: pytest.MonkeyPatch) -> None:
    shop = case("webhook")
    shop.connections = (
        '  - {name: hook, destination: webhook, settings: {url: "http://hooks.partner.example/in"}, '
        "syncs: [{computation: score}]}\n"
    )
    with vendor() as server:
        for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY"):
            monkeypatch.setenv(name, server.url)
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)
        (shop.root / "workspace.yaml").write_text(HEAD + shop.connections)
        path = write_events(shop.root / "e.jsonl", *scored([1]))
        common = ["--workspace", str(shop.root / "workspace.yaml"), "--state", str(shop.root / "state"), "--new-state"]
        assert 0 == main(["run", *common, "--events", str(path), "--retry-for", "3s"])
        assert 1 == len(server.seen)


@pytest.mark.parametrize("name", [".", ".."])
def test_an_identifier_that_would_leave_its_path_is_not_sent(case: Callable[[str], Case], name: str) -> None:
    shop = case("iterable")

    def answer(seen: Seen) -> Answer:
        if seen.method != "DELETE":
            return Answer(json={"msg": "", "code": "Success", "params": {}})
        return Answer(404, {"msg": "no such endpoint", "code": "NotFound", "params": None})

    with vendor(answer) as server:
        shop.url = server.url
        one = {"type": "profile", "profile_id": "p1", "at": DAY_1, "external_ids": [{"type": "user_id", "id": name}]}
        assert 0 == shop.run([one, score(1, DAY_1, 1)])
        assert 0 == shop.run([{"type": "delete", "profile_id": "p1", "at": DAY_2}])
        assert [] == [seen for seen in server.seen if seen.method == "DELETE"]
        assert ["invalid_identifier"] == [letter["reason"] for letter in dead_letters(shop.root / "state")]


def test_marker_and_hidden_files_are_skipped_with_a_word(case: Callable[[str], Case], capsys: Capture) -> None:
    shop = case("webhook")
    folder = shop.root / "events"
    folder.mkdir()
    write_events(folder / "part-0000.json", *scored([1]))
    for name in ("_SUCCESS", ".part-0000.json.crc", ".DS_Store"):
        (folder / name).write_bytes(b"\x00\x01")
    (folder / "empty.json.gz").write_bytes(b"")
    with vendor() as server:
        (shop.root / "workspace.yaml").write_text(HEAD + shop.connections)
        common = ["--workspace", str(shop.root / "workspace.yaml"), "--state", str(shop.root / "state"), "--new-state"]
        assert 0 == main(["run", *common, "--gateway", server.url, "--events", os.path.join(folder, "*")])
        assert 1 == len(server.seen)
    assert re.search(r"skipped 3 files .*_SUCCESS", capsys.readouterr().out, re.IGNORECASE)


@pytest.mark.parametrize(
    "settings",
    [
        'url: "https://hook.example/a", headers: {Content-Length: "3"}',
        'url: "https://hook.example/a", headers: {Expect: 100-continue}',
        'url: "https://hook.example/a", headers: {X-Team: "a\\r\\nX-Evil: 1"}',
        'url: "https://ann:pw@hook.example/a", secret_headers: {Authorization: "${HOOK}"}',
    ],
)
def test_settings_that_break_the_message_are_refused_before_a_run(
    case: Callable[[str], Case], capsys: Capture, settings: str
) -> None:
    shop = case("webhook")
    text = f"  - {{name: framed, destination: webhook, settings: {{{settings}}}, syncs: [{{computation: score}}]}}\n"
    (shop.root / "workspace.yaml").write_text(HEAD + text)
    assert 1 == main(["check", "--workspace", str(shop.root / "workspace.yaml")])
    assert "connections[0].settings" in capsys.readouterr().err
