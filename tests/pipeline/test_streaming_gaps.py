"""What is gone from a log without having been settled is told when senders start. Topics are in memory."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest

from pipeline.streaming import log as module
from pipeline.streaming import versions
from pipeline.streaming.kafka import Kafka
from pipeline.streaming.log import Gap, Settled, refuse_gaps
from pipeline.streaming.sending import Sending, SendOptions
from pipeline.streaming.versions import Version
from schemas.registry import Registry, encode_registry
from tests.pipeline.memory_kafka import Topics, in_memory
from tests.pipeline.running import workspace
from transforms.sending.sender import SenderOptions

LOG = Kafka("localhost:9092", "shop")


@pytest.fixture
def topics(monkeypatch: pytest.MonkeyPatch) -> Topics:
    return in_memory(monkeypatch)


def settled(topics: Topics, name: str, place: int, sent: int) -> None:
    topics.put(f"shop.kept.{name}", b"settled", msgspec.msgpack.encode(Settled(place, sent)))


def begins(topics: Topics, name: str, calls: int, sent: int) -> None:
    topics.begins |= {f"shop.calls.{name}": calls, f"shop.sent.{name}": sent}


def test_senders_do_not_begin_where_something_is_gone_and_name_all_of_it(topics: Topics, tmp_path: Path) -> None:
    names = ["first", "second", "third", "fourth"]
    text = workspace(tmp_path / "workspace.yaml", *names).read_text()
    named = {name: "crm" if name == "second" else name for name in names}
    version = Version(1, text, {}, encode_registry(Registry(connections=names)), {}, b"", topics=named)
    topics.put("shop.workspace", b"version", versions._encode(version))
    begins(topics, "first", 120, 0)
    settled(topics, "first", 101, 7)
    begins(topics, "crm", 5, 9)
    begins(topics, "third", 30, 6)
    settled(topics, "third", 31, 6)
    with pytest.raises(Gap) as told:
        Sending(SendOptions(LOG, SenderOptions()), lambda *_, **__: None).loop()
    assert [
        "first: calls that were not settled are gone from shop.calls.first (offsets 100 to 119).",
        "second: calls that were not settled are gone from shop.calls.crm (offsets 0 to 4).",
        "second: receipts of calls that were not settled are gone from shop.sent.crm (offsets 0 to 8).",
        "Some people may have to wait for their next change until they are told. Give these topics retention.ms=-1; "
        "then start the senders once with `profilecast send --past-gaps`, which goes on with what is there.",
    ] == str(told.value).splitlines()


@pytest.mark.parametrize("marks", [0, 1, 39, 40, 41, 1_000])
def test_how_far_all_is_settled_is_found_behind_any_number_of_marks(
    topics: Topics, monkeypatch: pytest.MonkeyPatch, marks: int
) -> None:
    monkeypatch.setattr(module, "_NEWEST", 5)
    for place in (3, 8):
        settled(topics, "hook", place, 0)
        for number in range(marks):
            topics.put("shop.kept.hook", b"mark:%d" % number, None)
    begins(topics, "hook", 7, 0)
    refuse_gaps(LOG, {"hook": "hook"})
    begins(topics, "hook", 8, 0)
    with pytest.raises(Gap, match=r"offsets 7 to 7"):
        refuse_gaps(LOG, {"hook": "hook"})


def test_who_sends_meanwhile_may_free_what_is_settled(topics: Topics, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is freed between the two things that are looked at."""

    def then_frees(look: Callable[..., Settled], *given: Any) -> Settled:
        found = look(*given)
        settled(topics, "hook", 21, 9)
        begins(topics, "hook", 20, 9)
        return found

    for name in ("_first", "_settled"):
        monkeypatch.setattr(module, name, partial(then_frees, getattr(module, name)))
    settled(topics, "hook", 11, 4)
    begins(topics, "hook", 10, 4)
    refuse_gaps(LOG, {"hook": "hook"})
