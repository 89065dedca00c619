"""What an operator does with a service, without a service: orders, pauses, dead letters in portions; and `send`."""

import threading
from pathlib import Path

import pytest

from pipeline.disk import StoreError
from pipeline.orders import Busy, Orders
from pipeline.paused import NAME, keep_paused, paused, renamed, why_not
from pipeline.replaying import Replaying, _parts
from pipeline.status_page import page_routes
from pipeline.status_server import Asked, answer_of
from schemas.workspace import Connection, Workspace
from transforms.logic.estimate import time_left
from transforms.logic.ledger import Retry
from transforms.logic.portion import Lines


# -- orders
def test_an_order_is_carried_out_by_the_loop_and_its_outcome_comes_back() -> None:
    orders, found = Orders(), []
    asking = threading.Thread(target=lambda: found.append(orders.ask(threading.get_ident)))
    asking.start()
    while asking.is_alive():
        orders.carry_out()
    assert [threading.get_ident()] == found


def test_what_an_order_raises_comes_to_who_asked_and_ends_nothing() -> None:
    orders, found = Orders(), []

    def fail() -> None:
        raise StoreError("the disk is full")

    def ask() -> None:
        try:
            orders.ask(fail)
        except StoreError as error:
            found.append(str(error))

    asking = threading.Thread(target=ask)
    asking.start()
    while asking.is_alive():
        orders.carry_out()
    assert ["the disk is full"] == found


def test_an_order_that_nobody_came_to_is_not_carried_out_later() -> None:
    orders, done = Orders(patience=0.01), []
    with pytest.raises(Busy, match="try again"):
        orders.ask(lambda: done.append(1))
    orders.carry_out()
    assert [] == done


# -- pauses
def shop(*connections: Connection) -> Workspace:
    return Workspace(workspace="shop", computations=[], connections=list(connections))


def hook(name: str, was: str = "") -> Connection:
    return Connection(name=name, destination="webhook", settings=None, syncs=[], was=was)


def test_pauses_are_kept_as_they_were(tmp_path: Path) -> None:
    assert {} == paused(tmp_path)
    keep_paused(tmp_path, {"hook": "2026-01-15T09:05:00Z"})
    assert {"hook": "2026-01-15T09:05:00Z"} == paused(tmp_path)
    words = "it is paused since 2026-01-15T09:05:00Z: resume it on the page of `serve`, or take it out of "
    assert f"{words}{tmp_path / NAME}" == why_not(tmp_path, "hook")
    assert "" == why_not(tmp_path, "crm")


@pytest.mark.parametrize("content", ["", "[]", "{", '{"hook": 1}'])
def test_a_damaged_file_of_pauses_is_a_sentence(tmp_path: Path, content: str) -> None:
    (tmp_path / NAME).write_text(content)
    with pytest.raises(StoreError, match=f"{NAME}: it is damaged .*; remove it, and pause again what is to wait"):
        paused(tmp_path)


def test_a_pause_goes_with_the_name() -> None:
    assert {"new": "t", "crm": "u"} == renamed({"old": "t", "crm": "u"}, shop(hook("new", was="old"), hook("crm")))


def test_a_name_that_another_connection_got_keeps_its_pause() -> None:
    assert {"old": "t"} == renamed({"old": "t"}, shop(hook("new", was="old"), hook("old")))


# -- dead letters
class Decider:
    """Notes what it is to fold; refuses it while the disk is full."""

    def __init__(self) -> None:
        self.plan, self.full = None, False
        self.retries: list[int] = []

    def fold_retries(self, retries: list[Retry]) -> int:
        if self.full:
            raise StoreError("the disk is full")
        self.retries.append(len(retries))
        return len(retries)


def test_retries_go_in_portions_and_none_is_lost_to_a_full_disk() -> None:
    replaying, decider = Replaying(), Decider()
    replaying._retries = [Retry(None, b"")] * 1_100  # type: ignore[arg-type]
    replaying.fold(decider)  # type: ignore[arg-type]
    decider.full = True
    with pytest.raises(StoreError):
        replaying.fold(decider)  # type: ignore[arg-type]
    decider.full = False
    while replaying.fold(decider):  # type: ignore[arg-type]
        pass
    assert [500, 500, 100] == decider.retries


def test_records_keep_their_places_in_portions() -> None:
    many = Lines("a.jsonl", list(range(1, 1_002)), [b"{}"] * 1_001)
    parts = _parts(many)
    assert [500, 500, 1] == [len(part.lines) for part in parts]
    assert many.numbers == [number for part in parts for number in part.numbers]
    assert [Lines("e", [7], [b""], True)] == _parts(Lines("e", [7], [b""], True))


# -- what the page shows
@pytest.mark.parametrize(
    ("pending", "rate", "requests", "settled", "seconds"),
    [(100, 10.0, 50, 50, 10.0), (100, 10.0, 10, 100, 1.0), (100, 0.0, 50, 50, 0.0), (100, 10.0, 5, 0, 0.0)],
)
def test_the_time_left(pending: int, rate: float, requests: int, settled: int, seconds: float) -> None:
    assert seconds == time_left(pending, rate, requests, settled)


def test_a_page_without_acts_has_nothing_to_press() -> None:
    routes = page_routes("send", {})
    html = answer_of(routes, "GET", Asked("/", "", {}, b"")).content.decode()
    assert "<button" not in html
    assert "<dialog" not in html
    assert "One person" not in html
    assert {"GET /", "GET /page.css", "GET /page.js", "GET /icon.svg"} == routes.keys()
