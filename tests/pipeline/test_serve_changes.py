"""A service whose workspace is edited, and whose vendors refuse: it goes on, and what is mended goes by itself."""

import signal
from pathlib import Path

import pytest

from tests.pipeline.running import Receiver, profile, score, vip
from tests.pipeline.serving import Service, now, serving, told, until
from tests.sending.vendor_server import Answer, Seen, vendor

OLD = "2025-01-01T00:00:00Z"
PEOPLE = 150


def edit(service: Service, old: str, new: str) -> None:
    text = service.workspace.read_text()
    assert old in text
    beside = service.workspace.with_suffix(".new")
    beside.write_text(text.replace(old, new))
    beside.rename(service.workspace)


def test_a_new_sync_tells_everybody_and_what_happens_goes_ahead(tmp_path: Path, receiver: Receiver) -> None:
    workspace = tmp_path / "workspace.yaml"
    again = "      - {computation: score, name: again, send_as: again, as: identify}\n"
    with serving(tmp_path, receiver.url) as service:
        people = [f"p{n}" for n in range(PEOPLE)]
        service.append("old.jsonl", *(profile(who, OLD) for who in people), *(score(who, OLD, 1) for who in people))
        until(lambda: PEOPLE == len(told(receiver, "score", 1)))
        edit(service, "  - name: hook\n", "  - name: hook\n    cap: 40/s\n")
        until(lambda: service.said("reloaded") and service.connection()["cap"] == "40/s")
        workspace.write_text(workspace.read_text() + again)
        until(lambda: told(receiver, "again", 1))
        service.append("new.jsonl", profile("now", now()), score("now", now(), 2))
        until(lambda: told(receiver, "score", 2))
        assert len(told(receiver, "again", 1)) < PEOPLE
        until(lambda: PEOPLE == len(told(receiver, "again", 1)))
        until(lambda: not service.connection()["waiting"])
        assert PEOPLE == len(told(receiver, "score", 1))  # nobody is told again what was told
        assert 0 == service.stop()


def test_a_mistake_is_said_and_changes_nothing_and_a_new_connection_is_told(tmp_path: Path, receiver: Receiver) -> None:
    with serving(tmp_path, receiver.url) as service:
        service.append("a.jsonl", profile("ana", OLD), score("ana", OLD, 1))
        until(lambda: told(receiver, "score", 1))
        good = service.workspace.read_text()
        edit(service, "kind: trait", "kind: train")
        words = until(lambda: service.said("not reloaded"))[0]["words"]
        assert "kind" in words
        assert words.endswith("The workspace stays as it was.")
        assert service.status()["workspace_refused"]
        service.append("a.jsonl", score("ana", now(), 2))
        until(lambda: told(receiver, "score", 2))
        service.workspace.write_text(good.replace("workspace: shop", "workspace: other"))
        until(lambda: 2 == len(service.said("not reloaded")))
        assert "belongs to the workspace 'shop'" in service.status()["workspace_refused"]
        service.workspace.write_text(good)
        until(lambda: service.said("reloaded"))
        assert "" == service.status()["workspace_refused"]
        service.process.send_signal(signal.SIGHUP)
        until(lambda: 2 == len(service.said("reloaded")))
        more = good[good.index("  - name: hook") :].replace("name: hook", "name: crm").replace("//hook.", "//crm.")
        service.workspace.write_text(good + more)
        until(lambda: 2 == len(told(receiver, "score", 2)))
        edit(service, "  - name: crm\n", "  - name: sales\n    was: crm\n")
        until(lambda: "sales" in service.status()["connections"])
        service.append("a.jsonl", score("ana", now(), 3))
        until(lambda: 2 == len(told(receiver, "score", 3)))
        assert 2 == len(told(receiver, "score", 2))
        edit(service, "https://hook.example/in", "https://elsewhere.example/in")
        words = until(lambda: [line for line in service.said("not reloaded") if "another vendor" in line["words"]])
        assert "start the service with --accept-changes" in words[0]["words"]
        service.append("a.jsonl", score("ana", now(), 4))
        until(lambda: 2 == len(told(receiver, "score", 4)))


def test_who_refuses_stops_alone_and_is_tried_again(tmp_path: Path, receiver: Receiver) -> None:
    refused: list[str] = ["crm"]
    receiver.answer = lambda host, message: 401 if host.partition(".")[0] in refused else 200
    with serving(tmp_path, receiver.url, "--retry-stopped", "1s", connections=("hook", "crm")) as service:
        service.append("a.jsonl", profile("ana", OLD), score("ana", OLD, 1))
        until(lambda: service.said("stopped", connection="crm"))
        words = service.said("stopped", connection="crm")[0]["words"]
        assert "refuses the credentials" in words
        assert "tried again in 1 s" in words
        asked = len(told(receiver, "score", 1))
        service.append("a.jsonl", score("ana", now(), 2))
        until(lambda: 0 == service.connection("hook")["waiting"] and told(receiver, "score", 2))
        until(lambda: len(told(receiver, "score", 1)) > asked or len(told(receiver, "score", 2)) > 1)  # tried again
        assert service.connection("crm")["stopped"]
        refused.clear()
        until(lambda: 0 == service.connection("crm")["waiting"])
        until(lambda: service.said("goes on", connection="crm"))
        assert 1 == len(service.said("stopped", connection="crm"))


def test_a_reload_tries_at_once_what_stopped(tmp_path: Path, receiver: Receiver) -> None:
    receiver.answer = lambda host, message: 401
    with serving(tmp_path, receiver.url, "--retry-stopped", "1h") as service:
        service.append("a.jsonl", profile("ana", OLD), score("ana", OLD, 1))
        until(lambda: service.said("stopped", connection="hook"))
        receiver.answer = lambda host, message: 200
        service.process.send_signal(signal.SIGHUP)
        until(lambda: 0 == service.connection()["waiting"])


def test_a_trouble_that_is_over_is_not_said_any_more(tmp_path: Path, receiver: Receiver) -> None:
    receiver.answer = lambda host, message: 503
    with serving(tmp_path, receiver.url, "--retry-for", "1s") as service:
        service.append("a.jsonl", profile("ana", OLD), score("ana", OLD, 1))
        until(lambda: service.connection()["trouble"])
        receiver.answer = lambda host, message: 200
        service.append("a.jsonl", profile("bob", now()), score("bob", now(), 2))
        until(lambda: told(receiver, "score", 2) and not service.connection()["trouble"])
        until(lambda: service.said("goes on", connection="hook"))


def test_a_vendor_that_is_away_is_said_to_be_while_it_lasts(tmp_path: Path, receiver: Receiver) -> None:
    receiver.answer = lambda host, message: 503
    with serving(tmp_path, receiver.url) as service:
        service.append("a.jsonl", profile("ana", OLD), score("ana", OLD, 1))
        until(lambda: "HTTP 503" in service.connection()["silent"])
        until(lambda: service.said("silent", connection="hook"))
        receiver.answer = lambda host, message: 200
        until(lambda: told(receiver, "score", 1) and not service.connection()["silent"])
        until(lambda: service.said("goes on", connection="hook"))


LIST = """\
workspace: shop
computations: [{name: Vip, kind: audience}, {name: Risk, kind: audience}]
connections:
  - name: ads
    destination: facebook-custom-audiences
    settings: {ad_account_id: "1", access_token: "${ADS_TOKEN}"}
    syncs: [{computation: vip}, {computation: risk}]
"""


def test_a_list_that_the_vendor_refuses_is_said_and_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ADS_TOKEN", "very-secret-token")
    refused = ["risk"]

    def answer(seen: Seen) -> Answer:
        if seen.method == "GET":
            return Answer(200, {"data": []})
        if seen.target.partition("?")[0].endswith("/customaudiences"):
            name = seen.json["name"]
            if name in refused:
                return Answer(400, {"error": {"message": "no such list here", "code": 100, "type": "OAuthException"}})
            return Answer(200, {"id": {"vip": "1", "risk": "2"}[name]})
        rows = len(seen.json["payload"]["data"])
        return Answer(200, {"num_received": rows, "num_invalid_entries": 0, "audience_id": "1", "session_id": "1"})

    (tmp_path / "workspace.yaml").write_text(LIST)
    with vendor(answer) as server, serving(tmp_path, server.url, "--retry-stopped", "1s") as service:
        service.append("a.jsonl", profile("ana", OLD, "ana@example.com"), vip("ana", OLD))
        service.append("a.jsonl", {**vip("ana", OLD), "computation": "risk"})
        until(lambda: service.connection("ads")["delivered"] == 2)
        (said,) = until(lambda: service.said("blocked", connection="ads"))
        assert said["words"].startswith("risk: Facebook does not make the audience 'risk'")
        refused.clear()
        until(lambda: 0 == service.connection("ads")["waiting"])
        until(lambda: service.said("goes on", connection="ads"))


def test_the_page_answers_while_a_connection_gets_another_name(tmp_path: Path, receiver: Receiver) -> None:
    with serving(tmp_path, receiver.url) as service:
        service.append("a.jsonl", profile("ana", OLD), score("ana", OLD, 1))
        until(lambda: told(receiver, "score", 1))
        first, old = service.workspace.read_text(), "hook"
        for new in (f"hook{number}" for number in range(8)):
            service.workspace.write_text(first.replace("  - name: hook\n", f"  - name: {new}\n    was: {old}\n"))
            while new not in (connections := service.status()["connections"]):
                assert {old} == connections.keys()
                assert [] == service.said("not reloaded")  # its delivery ends, however shortly it has gone on
            old = new
