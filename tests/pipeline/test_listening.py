"""`serve --listen`: what is acknowledged is on the disk and is told, also after a kill; the rest is refused."""

import gzip
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from pipeline import cli
from pipeline.commands.listen import WrongKey, address, write_keys
from pipeline.inbox import Inbox
from pipeline.listening import bound, listening
from tests.pipeline import running
from tests.pipeline.running import Receiver, receiving
from tests.pipeline.serving import Service, now, serving, told, until

KEY = "write-key-1"
SEGMENT = {"content-type": "application/json"}


class Listener:
    """An HTTP server of the product in this process; `said` is what it says."""

    def __init__(self, state: Path) -> None:
        self.state, self.url = state, ""
        self.said: list[tuple[str, str]] = []

    def say(self, event: str, words: str = "", **details: Any) -> None:
        self.said.append((event, words))
        self.url = details.get("address", self.url)

    def post(self, path: str, body: Any, key: str = KEY, **headers: str) -> requests.Response:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = SEGMENT | {name.replace("_", "-"): value for name, value in headers.items()}
        return requests.post(f"{self.url}/v1/{path}", content, auth=(key, ""), headers=headers, timeout=60)

    def lines(self) -> list[Any]:
        files = sorted((self.state / "inbox").glob("*.jsonl"))
        return [json.loads(line) for path in files for line in path.read_text().splitlines()]


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[Listener]:
    found = Listener(tmp_path)
    with (
        bound("127.0.0.1", 0) as opened,
        listening(opened, ["another-key", KEY], Inbox(tmp_path), found.say),
    ):
        yield found


def one(who: str = "u1", **fields: Any) -> dict[str, Any]:
    return {"type": "identify", "userId": who, "timestamp": now(), **fields}


def test_what_is_acknowledged_is_in_the_inbox(listener: Listener) -> None:
    answer = listener.post("batch", {"batch": [one("u1"), one("u2")]})
    assert (200, {"success": True}) == (answer.status_code, answer.json())
    assert 200 == listener.post("track", {"userId": "u3"}).status_code
    assert [("u1", "identify"), ("u2", "identify"), ("u3", "track")] == [
        (line["userId"], line["type"]) for line in listener.lines()
    ]
    assert all(line["receivedAt"].endswith("Z") for line in listener.lines())


def test_packed_bodies_are_unpacked(listener: Listener) -> None:
    packed = gzip.compress(json.dumps({"batch": [one("zip")]}).encode())
    assert 200 == listener.post("import", packed, Content_Encoding="gzip").status_code
    assert ["zip"] == [line["userId"] for line in listener.lines()]
    for broken in (packed[:20], b"no gzip at all"):
        answer = listener.post("import", broken, Content_Encoding="gzip")
        assert 400 == answer.status_code, answer.text
    assert 1 == len(listener.lines())


def test_a_body_that_is_too_long_is_refused_packed_or_not(listener: Listener) -> None:
    most = 500 * 1024
    body = json.dumps({"batch": [one("big")]}).encode()
    assert 200 == listener.post("batch", body + b" " * (most - len(body))).status_code
    long = body + b" " * (most + 1 - len(body))
    for answer in (listener.post("batch", long), listener.post("batch", gzip.compress(long), Content_Encoding="gzip")):
        assert 413 == answer.status_code
        assert "512,000 bytes" in answer.json()["message"]
    bomb = gzip.compress(b" " * 50_000_000)
    assert listener.post("batch", bomb, Content_Encoding="gzip").status_code in (400, 413)
    assert 1 == len(listener.lines())


@pytest.mark.parametrize("key", ["", "write-key-2", KEY + "x", KEY[:-1], "ключ"])
def test_who_has_no_write_key_is_refused(listener: Listener, key: str) -> None:
    answer = listener.post("batch", [one()], key=key) if key.isascii() else requests.post(
        f"{listener.url}/v1/batch", b"[]", headers={"Authorization": "Basic 0LrQu9GO0Yc6"}, timeout=30
    )  # fmt: skip
    assert (401, "Basic") == (answer.status_code, answer.headers["www-authenticate"])
    assert not key or key not in answer.text
    assert [] == listener.lines()


@pytest.mark.parametrize("header", [{}, {"Authorization": "Bearer x"}, {"Authorization": "Basic !"}])
def test_other_ways_to_sign_are_refused(listener: Listener, header: dict[str, str]) -> None:
    assert 401 == requests.post(f"{listener.url}/v1/batch", b"[]", headers=header, timeout=60).status_code


def test_each_of_the_keys_is_taken(listener: Listener) -> None:
    assert 200 == listener.post("batch", [one()], key="another-key").status_code


def test_what_there_is_not_is_refused_in_words(listener: Listener) -> None:
    assert (404, True) == ((answer := listener.post("pixel", {})).status_code, "/v1/batch" in answer.text)
    assert 405 == requests.get(f"{listener.url}/v1/batch", timeout=60).status_code
    answer = listener.post("batch", b"{")
    assert (400, "the body is not JSON") == (answer.status_code, answer.json()["message"])


def test_a_disk_that_refuses_is_told_and_nothing_counts_until_it_is_well(listener: Listener) -> None:
    place = listener.state / "inbox"
    place.write_text("in the way")
    for _ in range(3):
        answer = listener.post("batch", [one()])
        assert (503, "5") == (answer.status_code, answer.headers["retry-after"])
    place.unlink()
    assert 200 == listener.post("batch", [one("after")]).status_code
    assert ["after"] == [line["userId"] for line in listener.lines()]
    assert ["listening", "trouble", "goes on"] == [event for event, _ in listener.said]
    assert "inbox" in listener.said[1][1]


def test_many_at_once_are_all_there(listener: Listener) -> None:
    def send(number: int) -> None:
        with requests.Session() as session:
            session.auth = (KEY, "")
            for turn in range(20):
                body = json.dumps([one(f"{number}-{turn}")])
                assert 200 == session.post(f"{listener.url}/v1/batch", body, timeout=60).status_code

    threads = [threading.Thread(target=send, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {f"{number}-{turn}" for number in range(8) for turn in range(20)} == {
        line["userId"] for line in listener.lines()
    }


# -- the command
@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


def where(service: Service) -> str:
    return str(until(lambda: service.said("listening"))[0]["address"])


def scored(who: str, value: Any) -> dict[str, Any]:
    personas = {"computation_class": "trait", "computation_key": "score", "computation_id": "tra_1"}
    return one(who, traits={"score": value}, context={"personas": personas})


def test_a_service_tells_what_was_posted_and_a_kill_loses_nothing_that_it_acknowledged(
    tmp_path: Path, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "user"))
    monkeypatch.setenv("PROFILECAST_WRITE_KEY", KEY)
    acknowledged: list[str] = []
    options = ("--listen", "127.0.0.1:0", "--write-key", "${PROFILECAST_WRITE_KEY}")
    with serving(tmp_path, receiver.url, *options) as service:
        url = f"{where(service)}/v1/batch"
        requests.post(url, json={"batch": [scored("first", 1), {"type": "page"}]}, auth=(KEY, ""), timeout=60)
        until(lambda: told(receiver, "score", 1))
        assert 1 == service.status()["since_start"]["unusable"]

        def send(number: int) -> None:
            for turn in range(10_000):
                name = f"{number}-{turn}"
                try:
                    answer = requests.post(url, json=[scored(name, name)], auth=(KEY, ""), timeout=60)
                except requests.RequestException:
                    return
                if answer.status_code == 200:
                    acknowledged.append(name)

        threads = [threading.Thread(target=send, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        until(lambda: len(acknowledged) > 60)
        service.kill()
        for thread in threads:
            thread.join()
        service._more = ()  # it reads its inbox also when it does not listen any more
        service.start()
        until(lambda: set(acknowledged) <= {m["userId"] for m in receiver.messages if "userId" in m})
        assert KEY not in service.log()
        assert [] == [path for path in service.state.rglob("*") if path.is_file() and KEY.encode() in path.read_bytes()]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--listen", "127.0.0.1:0"), "--listen and --write-key need each other"),
        (("--write-key", "x"), "--listen and --write-key need each other"),
        (("--listen", "8809", "--write-key", "x"), "'8809' is not a host and a port such as 127.0.0.1:8809"),
        (("--listen", "127.0.0.1:0", "--write-key", "no-file"), "--write-key: the file cannot be read (No such file"),
    ],
)
def test_wrong_usage_is_a_sentence(
    options: tuple[str, ...], words: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    try:
        code = cli.main(["serve", "--state", str(tmp_path / "state"), *options])
    except SystemExit as error:
        code = int(str(error.code))
    assert (1, True) == (code, words in capsys.readouterr().err)


def test_an_address_that_is_taken_is_a_sentence(tmp_path: Path, receiver: Receiver) -> None:
    (tmp_path / "keys").write_text(KEY)
    port = receiver.url.rpartition(":")[2]
    options = ("--state", tmp_path / "state", "--new-state", "--status-port", 0, "--write-key", tmp_path / "keys")
    file = running.workspace(tmp_path / "workspace.yaml", "hook")
    service = running.command("serve", "--workspace", file, *options, "--listen", f"127.0.0.1:{port}")
    _, errors = service.communicate(timeout=60)
    assert (1, f"--listen 127.0.0.1:{port}: Address already in use; give another one\n") == (service.returncode, errors)
    assert not (tmp_path / "state").exists()


# -- arguments
def test_addresses() -> None:
    assert [("127.0.0.1", 0), ("::1", 8809), ("inbox.example", 80)] == [
        tuple(address(text)) for text in ("127.0.0.1:0", "[::1]:8809", "inbox.example:80")
    ]
    for wrong in ("", ":1", "::1:80", "a:b", "a:70000", "a b:1", "[x]:1", "http://a:1"):
        with pytest.raises(Exception, match="is not a host and a port"):
            address(wrong)


def test_write_keys_are_in_a_file_or_a_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "keys").write_text("\n one \ntwo\n\n")
    monkeypatch.setenv("A_KEY", " three\n")
    assert ["one", "two"] == write_keys(str(tmp_path / "keys"))
    assert ["three"] == write_keys("${A_KEY}")
    (tmp_path / "none").write_text("\n \n")
    for wrong in ("${NO_SUCH_KEY}", "${}", "my-secret-key", str(tmp_path / "none")):
        with pytest.raises(WrongKey) as caught:
            write_keys(wrong)
        assert "my-secret-key" not in str(caught.value)
