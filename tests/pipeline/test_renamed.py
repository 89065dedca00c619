"""A connection with another name: what it was told, what waits and what became of it go with it."""

from pathlib import Path

from pipeline.leases import log_lease
from pipeline.sent import Receipts, path_of
from tests.pipeline.conftest import Shop
from tests.pipeline.running import profile, score, summary_of

DAY = "2026-01-01T00:00:00Z"


def rename(workspace: Path, old: str, new: str) -> None:
    text = workspace.read_text()
    assert f"  - name: {old}\n" in text
    workspace.write_text(text.replace(f"  - name: {old}\n", f"  - name: {new}\n    was: {old}\n"))


def test_nobody_is_told_again_and_what_is_new_goes_on(shop: Shop) -> None:
    assert 0 == shop.run(profile("ana", DAY), score("ana", DAY, 1))
    before = [*shop.receiver.messages]
    rename(shop.workspace, "hook", "crm")
    assert 0 == shop.run()
    assert before == shop.receiver.messages
    assert 0 == shop.run(score("ana", "2026-01-02T00:00:00Z", 2))
    assert [2] == [message["traits"]["score"] for message in shop.receiver.messages[len(before) :]]
    assert [] == summary_of(shop.state)["mistakes"]
    receipts = Receipts(shop.state, "crm")
    assert {"delivered": len(shop.receiver.messages)} == receipts.counters()
    receipts.close()
    assert not path_of(shop.state, "hook").exists()


def test_what_waits_is_sent_under_the_new_name(shop: Shop) -> None:
    shop.receiver.answer = lambda host, message: 401
    assert 3 == shop.run(profile("ana", DAY), score("ana", DAY, 1))
    shop.receiver.messages.clear()
    shop.receiver.answer = lambda host, message: 200
    rename(shop.workspace, "hook", "crm")
    assert 0 == shop.run()
    assert ["ana"] == [message["userId"] for message in shop.receiver.messages]


def test_while_it_is_delivered_it_keeps_its_name(shop: Shop) -> None:
    assert 0 == shop.run(profile("ana", DAY), score("ana", DAY, 1))
    rename(shop.workspace, "hook", "crm")
    with log_lease(shop.state, "hook"):
        assert 4 == shop.run(score("ana", "2026-01-02T00:00:00Z", 2))
    assert path_of(shop.state, "hook").exists()
    assert 0 == shop.run(score("ana", "2026-01-02T00:00:00Z", 2))
    assert [1, 2] == [message["traits"]["score"] for message in shop.receiver.messages]
