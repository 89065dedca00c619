"""The server of a service's pages: its routes, and who may ask them."""

import base64
import socket
import threading
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests

from pipeline.commands.status_options import WrongStatus, status_pages
from pipeline.status_server import Answer, Asked, Routes, in_json, serving_status, status_routes

TOKEN = "0123456789abcdef"


def failing(asked: Asked) -> Answer:
    raise ValueError("the file is damaged")


ROUTES: Routes = status_routes(lambda: {"fine": True}, lambda: True) | {
    "GET /failing": failing,
    "POST /echo": lambda asked: in_json(200, {"body": asked.body.decode(), "query": asked.query}),
}


@contextmanager
def pages(host: str = "127.0.0.1", token: str = "") -> Iterator[str]:
    with serving_status(0, ROUTES, host, token) as port:
        yield f"http://127.0.0.1:{port}"


@pytest.fixture(scope="module")
def page() -> Iterator[str]:
    with pages() as page:
        yield page


def ask(method: str, url: str, **options: Any) -> tuple[int, Any]:
    reply = requests.request(method, url, timeout=10, **options)
    return reply.status_code, reply.json()


def test_a_route_is_found_by_method_and_path(page: str) -> None:
    assert (200, {"fine": True}) == ask("GET", f"{page}/status?x=1")
    assert (200, {"body": "a", "query": "x=1"}) == ask("POST", f"{page}/echo?x=1", data="a")
    paths = ["/echo", "/failing", "/healthz", "/metrics", "/status"]
    assert (404, {"paths": paths}) == ask("GET", f"{page}/echo")
    assert (404, {"paths": paths}) == ask("POST", f"{page}/status", data="")


def test_a_route_that_fails_says_why(page: str) -> None:
    assert (503, {"trouble": "the file is damaged"}) == ask("GET", f"{page}/failing")


def test_a_body_is_bounded(page: str) -> None:
    assert 413 == ask("POST", f"{page}/echo", data="x" * 70_000)[0]
    assert 413 == ask("POST", f"{page}/echo", data=iter([b"x"]))[0]  # its length is not said


def test_it_is_not_stored_and_does_not_say_what_it_is_made_of(page: str) -> None:
    headers = requests.get(f"{page}/status", timeout=60).headers
    assert ("no-store", "nosniff", "profilecast") == (
        headers["cache-control"], headers["x-content-type-options"], headers["server"].strip()
    )  # fmt: skip


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "", "[", "10.0.0.1"])
def test_a_name_of_another_site_that_leads_here_is_refused(page: str, host: str) -> None:
    assert 403 == ask("GET", f"{page}/status", headers={"Host": host})[0]
    assert 200 == ask("GET", f"{page}/healthz", headers={"Host": host})[0]


@pytest.mark.parametrize("host", ["localhost", "localhost:1", "127.0.0.1:9", "[::1]:8807"])
def test_a_tunnel_may_have_another_port(page: str, host: str) -> None:
    assert 200 == ask("GET", f"{page}/status", headers={"Host": host})[0]


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": ""},
        {"Origin": "http://127.0.0.1:1"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_another_sites_page_cannot_make_it_act(page: str, headers: dict[str, str]) -> None:
    status, body = ask("POST", f"{page}/echo", data="a", headers=headers)
    assert (403, "another site's page sent this: use the page of the service itself") == (status, body["trouble"])


def test_its_own_page_can(page: str) -> None:
    assert 200 == ask("POST", f"{page}/echo", data="a", headers={"Origin": page, "Sec-Fetch-Site": "same-origin"})[0]


def basic(password: str) -> str:
    return "Basic " + base64.b64encode(f"me:{password}".encode()).decode()


@pytest.mark.parametrize("given", [basic(TOKEN), f"Bearer {TOKEN}", f"bearer {TOKEN}"])
def test_with_a_token_who_brings_it_may_ask_under_any_name(given: str) -> None:
    with pages("0.0.0.0", TOKEN) as page:
        headers = {"Authorization": given, "Host": "status.shop.example"}
        assert 200 == ask("GET", f"{page}/status", headers=headers)[0]


@pytest.mark.parametrize(
    "given",
    ["", basic("wrong"), basic(""), "Bearer ", f"Bearer {TOKEN}x", "Basic %", "Basic /w==", TOKEN, f"x {TOKEN}"],
)
def test_without_it_only_the_health_is_said(given: str) -> None:
    with pages("127.0.0.1", TOKEN) as page:
        headers = {"Authorization": given}
        assert 401 == ask("GET", f"{page}/status", headers=headers)[0]
        assert 401 == ask("POST", f"{page}/echo", data="a", headers=headers)[0]
        assert (200, {"well": True}) == ask("GET", f"{page}/healthz", headers=headers)


def test_who_connects_and_says_nothing_keeps_nobody_waiting(page: str) -> None:
    port, before = int(page.rpartition(":")[2]), threading.active_count()
    with socket.create_connection(("127.0.0.1", port)):
        assert 200 == ask("GET", f"{page}/status")[0]
    assert threading.active_count() < before + 10


# -- the options
def options(host: str, file: Path | None = None, port: int = 0) -> Namespace:
    return Namespace(status_host=host, status_port=port, status_token_file=file)


def refused(given: Namespace) -> str:
    with pytest.raises(WrongStatus) as caught, status_pages(given, ROUTES):
        pass
    return str(caught.value)


@pytest.mark.parametrize("host", ["0.0.0.0", "", "::", "status.shop.example", "10.0.0.1"])
def test_where_others_can_connect_it_needs_a_token(host: str) -> None:
    assert "--status-token-file FILE" in refused(options(host))


@pytest.mark.parametrize("content", [b"", b"short", b"0123456789 abcdef", b"0123456789abc\nd", b"\xff" * 20])
def test_a_token_that_is_none_is_refused_without_being_said(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "token"
    file.write_bytes(content)
    words = refused(options("0.0.0.0", file))
    assert words.startswith(f"--status-token-file {file}: ")
    assert "0123456789" not in words


def test_a_token_file_that_is_not_there_is_a_sentence(tmp_path: Path) -> None:
    file = tmp_path / "token"
    assert f"--status-token-file {file}: it cannot be read: No such file or directory" == refused(options("::", file))


def test_an_address_that_this_machine_does_not_have_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(TOKEN + "\n")
    words = refused(options("192.0.2.1", tmp_path / "token"))
    assert words.startswith("--status-host 192.0.2.1 --status-port 0: ")


def test_the_address_is_said_as_it_is_asked(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(TOKEN + "\n")
    with status_pages(options("::1", tmp_path / "token"), ROUTES) as address:
        assert address.startswith("http://[::1]:")
        assert 200 == ask("GET", address, headers={"Authorization": f"Bearer {TOKEN}"})[0]
