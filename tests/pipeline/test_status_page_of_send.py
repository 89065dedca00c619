"""The page of `send` in a real browser, over topics in memory: people, and dead letters."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from selenium.webdriver.common.keys import Keys

from pipeline.status_page import page_routes
from pipeline.status_server import serving_status, status_routes
from pipeline.streaming.operating import Operating
from tests.pipeline.browser import Browser, browsing
from tests.pipeline.conftest import Shop
from tests.pipeline.memory_kafka import Topics, in_memory
from tests.pipeline.running import profile, receiving, score, vip
from tests.pipeline.test_why_log import DAY_1, DAY_2, LOG, Job

REFUSED = "<b>refused</b>"  # a score that the vendor refuses


@pytest.fixture(scope="module")
def topics() -> Iterator[Topics]:
    with pytest.MonkeyPatch.context() as patch:
        yield in_memory(patch)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory, topics: Topics) -> Iterator[str]:
    with receiving() as receiver:
        shop = Shop(tmp_path_factory.mktemp("shop"), receiver)
        receiver.answer = lambda host, message: 422 if message.get("traits", {}).get("score") == REFUSED else 200
        shop.run(profile("ana", DAY_1, "ana@x.example"), score("ana", DAY_1, 1))
        shop.run(profile("bob", DAY_1), score("bob", DAY_1, REFUSED))
        receiver.answer = lambda host, message: 401
        shop.run(vip("ana", DAY_2))
        Job(shop, topics)
    acts = {**Operating(LOG, lambda *_, **__: None).acts(), "pause": dict, "resume": dict}
    status: dict[str, Any] = {"version": 1, "trouble": "", "connections": {}}
    routes = status_routes(lambda: status, lambda: True) | page_routes("send", acts)
    with serving_status(0, routes) as port:
        yield f"http://127.0.0.1:{port}"


@pytest.fixture
def browser(tmp_path: Path, page: str) -> Iterator[Browser]:
    with browsing(tmp_path) as browser:
        browser.open(f"{page}/")
        yield browser
        assert [] == browser.complaints()
        assert {page} == browser.asked()


def test_it_has_connections_dead_letters_and_people(browser: Browser) -> None:
    assert ["Connections", "Dead letters", "One person"] == [each.text for each in browser.all("h2") if each.text]
    row = '#letters tr[data-key="hook invalid_value"]'
    browser.shows(row, "invalid_value")
    assert "1" == browser.text(f"{row} td:nth-child(3)")
    browser.one(f"{row} button").click()
    browser.shows("#confirm-words", "Calls that would go: 1. The others are told already")
    browser.one("#confirm-no").click()

    browser.one("#person").send_keys("email:ana@x.example", Keys.ENTER)
    browser.shows("#person-found", "1 known by that")
    browser.shows("#person-found", "told 1: asked on")
    browser.shows("#person-found", "as soon as a sender delivers")
    browser.one("#person").clear()
    browser.one("#person").send_keys("bob", Keys.ENTER)
    browser.shows("#person-found", "not told: invalid_value on")
    assert [] == browser.all("#person-found b")


def act(page: str, name: str, **given: str) -> tuple[int, str]:
    token = re.findall(r'name="token" content="([^"]+)"', requests.get(f"{page}/", timeout=60).text)[0]
    reply = requests.post(f"{page}/{name}", json=given, headers={"x-page-token": token}, timeout=60)
    return reply.status_code, reply.text


@pytest.mark.parametrize(
    ("name", "given", "words"),
    [
        ("replay", {"connection": "hook"}, "say the reason"),
        ("would-replay", {"connection": "hook", "reason": "expired"}, "there are no dead letters"),
        ("replay", {"connection": "nobody", "reason": "expired"}, "there is no connection nobody"),
        ("why", {"person": " "}, "write a profile id"),
        ("why", {"person": "email:zoe@x.example"}, "nobody is known by that"),
    ],
)
def test_what_cannot_be_done_is_a_sentence(page: str, name: str, given: dict[str, str], words: str) -> None:
    status, body = act(page, name, **given)
    assert (409, True) == (status, words in body), body


def test_dead_letters_name_nobody_and_what_is_new_is_counted(page: str, topics: Topics) -> None:
    def number() -> int:
        status, body = act(page, "dead-letters")
        assert (200, False, False) == (status, "bob" in body, "refused</b>" in body), body
        return int(re.findall(r'"reason":"invalid_value","number":(\d+)', body)[0])

    before = number()
    letter = topics.parts("shop.dead")[0][0]
    topics.put("shop.dead", b"", letter.value())
    assert before + 1 == number()
    topics.put("shop.dead", b"", letter.value())
    topics.freed.append("shop.dead")
    assert before + 2 == number()
