"""Which name is in a connection's topics, when connections are renamed."""

from collections.abc import Iterable

import msgspec
import pytest

from pipeline.streaming.kafka import KafkaProblem
from pipeline.streaming.naming import named_after
from pipeline.streaming.versions import Version
from schemas.registry import Registry, encode_registry
from schemas.workspace import Connection, Workspace
from transforms.logic.registry import Vendor, enter


class Published:
    """Versions, one after the other. A connection is written `name`, or `name<was`."""

    def __init__(self, *first: str) -> None:
        self.registry, self.named = Registry(), dict[str, str]()
        self.publish(*first)

    def publish(self, *written: str, without: Iterable[str] = ()) -> dict[str, str]:
        """`without`: connections whose vendor cannot be asked."""
        made = [each.partition("<") for each in written]
        connections = (Connection(name, "webhook", (), was=was) for name, _, was in made)
        workspace = Workspace("shop", (), tuple(connections))
        named = named_after(self.named, self.registry, workspace)
        vendors = {name: Vendor(f"account of {name}", ("*",)) for name, _, _ in made if name not in without}
        self.registry, _ = enter(self.registry, workspace, vendors, 1)
        self.named = named
        return named

    def version(self) -> Version:
        return Version(1, "", {}, encode_registry(self.registry), {}, b"", topics=self.named)


def test_a_new_connection_has_topics_of_its_own_name() -> None:
    assert {"a": "a", "b": "b"} == Published("a").publish("a", "b")


def test_a_renamed_connection_keeps_its_topics_however_often_it_is_renamed() -> None:
    job = Published("a")
    assert {"a": "a", "b": "a"} == job.publish("b<a")
    assert {"a": "a", "b": "a", "c": "a"} == job.publish("c<b")
    assert {"a": "a", "b": "a", "c": "a"} == job.publish("c<b")  # the same once more
    assert {"a": "a", "b": "a", "c": "a"} == job.publish("a<c")  # and back


def test_what_a_log_begins_with_from_a_directory_is_named_by_itself() -> None:
    job = Published("a", "b")
    job.named = {}
    assert {"a": "a", "b": "b", "c": "b"} == job.publish("a", "c<b")


def test_the_old_name_stays_in_the_file_and_renames_nothing_more() -> None:
    assert {"new": "new"} == Published("new<old").named


def test_a_name_that_lives_on_in_topics_is_not_given_again() -> None:
    job = Published("a", "x")
    job.publish("b<a", "x")
    for wrong in (("b", "x", "a"), ("b", "a<x")):
        with pytest.raises(KafkaProblem, match="a: a connection that has another name now had this one"):
            job.publish(*wrong)


def test_two_cannot_have_been_the_same_connection() -> None:
    assert {"a": "a", "b": "a", "c": "c"} == Published("a").publish("b<a", "c<a")


def test_one_that_was_removed_comes_back_to_its_topics() -> None:
    job = Published("a", "b")
    job.publish("b")
    assert {"a": "a", "b": "b"} == job.publish("a", "b")


def test_a_connection_whose_vendor_cannot_be_asked_has_topics_all_the_same() -> None:
    job = Published("a")
    for _ in range(2):
        assert {"a": "a", "b": "b"} == job.publish("a", "b", without=["b"])


def test_what_an_older_version_of_profilecast_published_was_never_renamed() -> None:
    version = Version(1, "", {}, encode_registry(Registry(connections=["a", "b"])), {}, b"")
    assert {"a": "a", "b": "b"} == version.first_names()
    packed = msgspec.msgpack.encode(version)
    older = msgspec.msgpack.encode(msgspec.msgpack.decode(packed)[:7])
    assert version == msgspec.msgpack.decode(older, type=Version)


def test_every_old_name_leads_to_the_one_that_counts() -> None:
    job = Published("a", "x")
    job.publish("b<a", "x")
    job.publish("c<b", "x")
    assert {"a": "c", "b": "c", "c": "c", "x": "x"} == job.version().names_now()
