"""The page of `serve` in a real browser: what it shows, and what an operator does on it."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from selenium.webdriver.common.keys import Keys

from tests.pipeline.browser import Browser, browsing
from tests.pipeline.running import Message, Receiver, profile, receiving, score
from tests.pipeline.serving import Service, now, serving, told, until
from tests.pipeline.test_serve_tables import add_source, edit

REFUSED = "<b>refused</b>"  # a score that the vendor refuses


def answer(host: str, message: Message) -> int:
    """The vendor of `hook` refuses some values, the one of `crm` refuses everybody."""
    if host.startswith("crm"):
        return 401
    return 400 if message.get("traits", {}).get("score") == REFUSED else 200


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        receiver.answer = answer
        yield receiver


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, receiver: Receiver) -> Iterator[Service]:
    root = tmp_path_factory.mktemp("service")
    os.environ["XDG_STATE_HOME"] = str(root / "user")
    with serving(root, receiver.url, connections=("hook", "crm")) as service:
        service.append("first.jsonl", profile("ana", now(), "ana@x.example"), score("ana", now(), 1))
        service.append("first.jsonl", profile("bob", now()), score("bob", now(), REFUSED), {"type": "nonsense"})
        until(lambda: service.connection("crm")["stopped"] and service.connection("hook")["rejected"])
        until(lambda: told(receiver, "score", 1) and service.idle())
        yield service


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browsing(tmp_path_factory.mktemp("browser")) as browser:
        yield browser


@pytest.fixture
def browser(shared: Browser, service: Service) -> Iterator[Browser]:
    """At the page. Afterwards: nothing on the console, and nobody else was asked."""
    shared.emulate()
    shared.open(f"{service.page}/")
    shared.one(shared.row("connections", "hook"))
    yield shared
    assert [] == shared.complaints()
    assert {service.page} == shared.asked()


HOOK, CRM = '#connections tr[data-key="hook"]', '#connections tr[data-key="crm"]'


def test_it_shows_tables_where_there_are_any(browser: Browser, service: Service) -> None:
    assert not browser.all("#tables")[0].is_displayed()
    before = service.workspace.read_text()
    add_source(service.workspace, f"file: {service.root / 'customers.csv'}")
    browser.shows('#sources tr[data-key="customers"]', "there is no such file")
    assert browser.all("#tables")[0].is_displayed()
    edit(service.workspace, before)
    until(lambda: not browser.all("#tables")[0].is_displayed())


def test_it_shows_how_each_connection_stands(browser: Browser, service: Service) -> None:
    assert "shop" == browser.one("h1").text
    browser.shows(HOOK, "all is told")
    browser.shows(CRM, "stopped: ")
    assert "credentials" in browser.text(CRM)
    browser.shows(f"{CRM} td:nth-child(7)", " old")
    assert str(service.connection("crm")["waiting"]) == browser.text(f"{CRM} td:nth-child(5)")
    assert "" == browser.text("#said")  # what stood so when the page was opened is not said aloud


def test_a_search_says_why(browser: Browser, service: Service) -> None:
    browser.one("#person").send_keys("email:ana@x.example", Keys.ENTER)
    browser.shows("#person-found", "1 known by that")
    browser.shows("#person-found", "told 1: asked on")
    assert "person-found" == browser.focused().get_attribute("id")
    assert f"{service.page}/" == browser.driver.current_url  # nobody is named in an address


def test_what_people_are_called_and_told_is_shown_as_text(browser: Browser) -> None:
    browser.one("#person").send_keys("bob", Keys.ENTER)
    browser.shows("#person-found", REFUSED)
    assert [] == browser.all("#person-found b")


def test_replay_waits_for_a_confirmation(browser: Browser, service: Service, receiver: Receiver) -> None:
    before = len(told(receiver, "score", REFUSED))
    row = '#letters tr[data-key^="hook "]'
    browser.one(f"{row} button").click()
    browser.shows("#confirm-words", "Calls that would go: ")
    browser.focused().send_keys(Keys.ESCAPE)
    until(lambda: not browser.all("dialog[open]"))
    assert (before, []) == (len(told(receiver, "score", REFUSED)), service.said("replay"))
    browser.one(f"{row} button").click()
    browser.one("#confirm-yes").click()
    until(lambda: len(told(receiver, "score", REFUSED)) > before)
    browser.shows("#said", "are tried again")
    assert ["hook"] == [line["connection"] for line in service.said("replay")]


def test_records_are_read_again(browser: Browser, service: Service) -> None:
    before = service.status()["since_start"]["unusable"]
    row = '#letters tr[data-key=" unknown_event_type"]'
    browser.shows(row, "(records)")
    browser.one(f"{row} button").click()
    browser.shows("#confirm-words", "Records that are read again: 1.")
    browser.one("#confirm-yes").click()
    until(lambda: service.status()["since_start"]["unusable"] == before + 1)


def test_pause_and_resume_by_the_keyboard(browser: Browser, service: Service, receiver: Receiver) -> None:
    button = browser.one(f"{HOOK} button")
    browser.driver.execute_script("arguments[0].focus()", button)
    browser.focused().send_keys(Keys.ENTER)
    browser.shows(HOOK, "paused since")
    browser.shows("#said", "hook is paused")
    service.append("first.jsonl", score("ana", now(), "while paused"))
    until(lambda: service.connection()["waiting"])
    assert service.connection()["paused"]
    assert "Resume hook" == browser.focused().get_attribute("aria-label")
    assert [] == told(receiver, "score", "while paused")
    browser.focused().send_keys(Keys.ENTER)
    browser.shows("#said", "hook goes on.")
    until(lambda: told(receiver, "score", "while paused"))
    browser.shows(HOOK, "all is told")
    assert (1, 1) == (len(service.said("paused")), len(service.said("resumed")))


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_nothing_keeps_anybody_from_using_it(browser: Browser, scheme: str, width: int) -> None:
    browser.emulate(scheme, width)
    browser.one("#person").send_keys("ana", Keys.ENTER)
    browser.shows("#person-found", "told")
    assert [] == browser.serious()
    browser.one("#letters button").click()
    browser.shows("#confirm-words", "Calls that would go: ")
    assert [] == browser.serious()
    browser.one("#confirm-no").click()
    wide = "return document.documentElement.scrollWidth"
    assert browser.driver.execute_script(wide) <= width


# -- who may act
def page_token(service: Service) -> str:
    html = requests.get(f"{service.page}/", timeout=60).text
    return html.partition('name="token" content="')[2].partition('"')[0]


def act(service: Service, name: str, given: Any, **headers: str) -> tuple[int, Any]:
    given_token = {"X-Page-Token": page_token(service)}
    reply = requests.post(f"{service.page}/{name}", json=given, headers=given_token | headers, timeout=60)
    return reply.status_code, reply.json()


def test_nothing_is_done_without_the_pages_token_or_by_get(service: Service) -> None:
    for name in ("pause", "resume", "replay", "why", "would-replay", "dead-letters"):
        given = {"connection": "hook", "reason": "expired", "person": "ana"}
        assert 403 == act(service, name, given, **{"X-Page-Token": "x"})[0]
        assert 403 == act(service, name, given, Origin="http://evil.example")[0]
        assert 404 == requests.get(f"{service.page}/{name}?connection=hook", timeout=60).status_code
    assert "" == service.connection()["paused"]


@pytest.mark.parametrize(
    ("name", "given", "status", "words"),
    [
        ("pause", {"connection": "nobody"}, 409, "there is no connection nobody"),
        ("pause", {}, 409, "there is no connection"),
        ("pause", {"connection": 1}, 400, "not a JSON object of texts"),
        ("replay", {"connection": "hook"}, 409, "say the reason"),
        ("replay", {"connection": "hook", "reason": "nonsense"}, 409, "there are no dead letters"),
        ("why", {"person": " "}, 409, "write a profile id"),
        ("why", {"person": "email:zoe@x.example"}, 409, "nobody is known by that"),
    ],
)
def test_what_cannot_be_done_is_a_sentence(service: Service, name: str, given: Any, status: int, words: str) -> None:
    code, body = act(service, name, given)
    assert (status, True) == (code, words in body["trouble"]), body


def test_the_page_lets_nothing_in_from_elsewhere(service: Service) -> None:
    policy = requests.get(f"{service.page}/", timeout=60).headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self';")
    assert "unsafe" not in policy


def test_a_search_stands_in_no_log(service: Service) -> None:
    assert 200 == act(service, "why", {"person": "email:ana@x.example"})[0]
    assert "ana@x.example" not in service.log()


def test_dead_letters_name_nobody(service: Service) -> None:
    text = str(act(service, "dead-letters", {})[1])
    assert "bob" not in text
    assert "refused</b>" not in text


# -- restarts
def test_a_pause_outlasts_a_restart_and_holds_for_a_run(tmp_path: Path, receiver: Receiver) -> None:
    with serving(tmp_path, receiver.url) as service:
        assert 200 == act(service, "pause", {"connection": "hook"})[0]
        assert 200 == act(service, "pause", {"connection": "hook"})[0]
        since = service.connection()["paused"]
        service.append("a.jsonl", profile("kim", now()), score("kim", now(), "later"))
        until(lambda: service.connection()["waiting"] == 1)
        service.stop()
        run = service.run()
        assert (3, True) == (run.returncode, f"paused since {since}" in run.stdout), run.stdout + run.stderr
        service.start()
        assert [f"since {since}"] == [line["words"] for line in service.said("paused", connection="hook")]
        assert (1, since, "") == tuple(service.connection()[name] for name in ("waiting", "paused", "stopped"))
        text = service.workspace.read_text()
        service.workspace.write_text(text.replace("name: hook", "name: hooks, was: hook".replace(", ", "\n    ")))
        until(lambda: service.said("reloaded"))
        assert since == service.connection("hooks")["paused"]
        assert [] == told(receiver, "score", "later")
        assert 200 == act(service, "resume", {"connection": "hooks"})[0]
        until(lambda: told(receiver, "score", "later"))
        assert 0 == service.stop()
