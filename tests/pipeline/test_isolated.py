"""A fault in one destination's module, or in what it makes, ends neither the run nor another connection."""

from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from schemas.calls import Call
from schemas.limits import Batch
from schemas.outcomes import Rejected
from schemas.workspace import Connection, Workspace
from tests.pipeline.conftest import Shop
from tests.pipeline.running import dead_letters, profile, score, summary_of
from transforms.destinations import catalogue
from transforms.destinations.contract import Auth, Conversation, Request, Session
from transforms.destinations.webhook import Webhook

Capture = pytest.CaptureFixture[str]
DAY_1, DAY_2 = "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"
MANY = [event for n in range(20) for event in (profile(f"p{n}", DAY_1), score(f"p{n}", DAY_1, n))]


class Fault(Exception):
    pass


class InConstructor(Webhook):
    def __init__(self, workspace: Workspace, connection: Connection) -> None:
        raise Fault("on purpose")


class InTenant(Webhook):
    def tenant(self) -> str:
        raise Fault("on purpose")


class InLimitGroup(Webhook):
    def limit_group(self) -> str:
        raise Fault("on purpose")


class InBatchOf(Webhook):
    def batch_of(self, route: str) -> Batch:
        raise Fault("on purpose")


class InRoute(Webhook):
    def route(self, call: Call) -> str:
        raise Fault("on purpose")


class InCheck(Webhook):
    def check(self, call: Call) -> Rejected | None:
        raise Fault("on purpose")


class InUnit(Webhook):
    def unit(self, call: Call) -> Hashable:
        raise Fault("on purpose")


class InDeliver(Webhook):
    def deliver(self, calls: Sequence[Call]) -> Conversation:
        raise Fault("on purpose")


class FaultyAuth(Auth):
    def headers(self, request: Request, settings: Any, session: Session, now: float) -> Mapping[str, str]:
        raise Fault("on purpose")


class InAuth(Webhook):
    auth = FaultyAuth()


class InBody(Webhook):
    def deliver(self, calls: Sequence[Call]) -> Conversation:
        yield Request("POST", "https://hook.example/in", json=object())
        raise AssertionError("it cannot be sent")


AT_ONCE = (InConstructor, InTenant, InLimitGroup)
CALL_BY_CALL = (InBatchOf, InRoute, InCheck, InUnit, InDeliver, InAuth, InBody)
FEW = 5  # calls that are rejected until it is clear that the fault is not theirs


def run_with(shop: Shop, monkeypatch: pytest.MonkeyPatch, faulty: type[Webhook], *more: str) -> int:
    monkeypatch.setitem(catalogue(), "faulty", type("Faulty", (faulty,), {"slug": "faulty"}))
    text = shop.workspace.read_text()
    if "faulty" not in text:
        head, _, connection = text.partition("  - name: hook\n")
        second = connection.replace("destination: webhook", "destination: faulty").replace(
            "hook.example", "other.example"
        )
        shop.workspace.write_text(f"{head}  - name: bad\n{second}  - name: hook\n{connection}")
    return shop.run(*MANY, more=more)


@pytest.mark.parametrize("faulty", [*AT_ONCE, *CALL_BY_CALL])
def test_a_fault_in_a_module_stops_its_connection_alone(
    shop: Shop, capsys: Capture, monkeypatch: pytest.MonkeyPatch, faulty: type[Webhook]
) -> None:
    assert 3 == run_with(shop, monkeypatch, faulty)
    printed = capsys.readouterr()
    assert "bad: STOPPED: " in printed.out
    assert "fault in " in printed.out
    assert "Traceback" not in printed.err
    found = summary_of(shop.state)
    bad = found["connections"]["bad"]
    assert ([], 20) == (found["mistakes"], found["connections"]["hook"]["delivered"])
    assert (0, bad["made"]) == (bad["delivered"], bad["waiting"] + bad["rejected"])
    assert bad["rejected"] < (FEW if faulty in CALL_BY_CALL else 1)
    assert ["fault"] * bad["rejected"] == [letter["reason"] for letter in dead_letters(shop.state)]
    assert 0 == run_with(shop, monkeypatch, Webhook)  # mended
    assert 0 == shop.replay()
    assert 40 == len(shop.receiver.messages)


def test_many_connections_start_together(shop: Shop, tmp_path: Path) -> None:
    names = [f"hook-{n:03}" for n in range(160)]
    head = "workspace: shop\ncomputations:\n  - {name: Score, kind: trait}\nconnections:\n"
    connection = '  - name: %s\n    destination: webhook\n    settings: {url: "https://%s.example/in"}\n'
    shop.workspace.write_text(
        head + "".join(connection % (n, n) + "    syncs: [{computation: score}]\n" for n in names)
    )
    assert 0 == shop.run(profile("ana", DAY_1), score("ana", DAY_1, 1))
    assert 160 == len(shop.receiver.messages)
