"""DetectChangesByProfile: one profile at a time, in keyed state; knows in the end what the bounded fold knows."""

from collections.abc import Callable, Sequence
from random import Random
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions
from apache_beam.runners.direct.direct_runner import BundleBasedDirectRunner
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.testing import test_pipeline, test_stream
from apache_beam.testing.util import assert_that
from msgspec.json import encode

from schemas.state import encode_profile
from schemas.workspace import Connection, Sync, Workspace
from tests.transforms.logic.histories import SCORE, VIP
from tests.transforms.logic.job import Event, Job, at, hour
from tests.transforms.logic.vendors import Mailer
from transforms.detect import DetectChangesByProfile
from transforms.logic.detect import Changes, micros
from transforms.logic.plan import Plan, make_plan
from transforms.logic.shard import Profile

SHOP = Workspace(
    "shop",
    (SCORE, VIP),
    (Connection("mailer", "mailer", (Sync("score", forms=("track",)), Sync("vip")), Mailer.Settings()),),
)


def ids(*values: str) -> list[dict[str, str]]:
    return [{"type": "email", "id": value} for value in values]


# Late ones, ties, equal values, an object whose keys come in another order, a deletion and what is older than it.
OF_ANA: list[Event] = [
    {"type": "profile", "at": at(1), "external_ids": ids("a@x.example"), "traits": {"plan": {"b": 1, "a": 2}}},
    {"type": "profile", "at": at(4), "external_ids": ids("b@x.example"), "traits": {"plan": "free"}},
    {
        "type": "profile",
        "at": at(5),
        "external_ids": ids("b@x.example", "c@x.example"),
        "traits": {"plan": {"a": 2, "b": 1}},
    },
    {"type": "trait", "at": at(4), "computation": "score", "value": 1},
    {"type": "trait", "at": at(4), "computation": "score", "value": 1.0},
    {"type": "trait", "at": at(3), "computation": "score", "value": 9},
    {"type": "audience", "at": at(2), "computation": "vip", "member": True},
    {"type": "delete", "at": at(2)},
]
OF_BOB: list[Event] = [
    {"type": "audience", "at": at(2), "computation": "vip", "member": True},
    {"type": "audience", "at": at(2), "computation": "vip", "member": False},
    {"type": "profile", "at": at(1), "external_ids": ids("bob@x.example")},
]
EVENTS = [{"profile_id": "ana", **event} for event in OF_ANA] + [{"profile_id": "bob", **event} for event in OF_BOB]
# Told last, they bring out what the state has by then.
PROBES: list[Event] = [
    {"type": "profile", "profile_id": profile_id, "at": at(9), "external_ids": [], "traits": {"asked": True}}
    for profile_id in ("ana", "bob")
]


def plan() -> Plan:
    return make_plan(SHOP, {"mailer": Mailer(SHOP, SHOP.connections[0])}, {}, frozenset(), micros(hour(10)))


def keyed(event: Event) -> tuple[str, bytes]:
    return event["profile_id"], encode(event)


def known_after(events: Sequence[Event]) -> dict[str, bytes]:
    """What the bounded fold knows."""
    job = Job()
    job.run(SHOP, [*events, *PROBES], hour(10))
    states = {profile_id: job.profile(profile_id) for profile_id in ("ana", "bob")}
    for state in states.values():
        assert state is not None
        state.waiting = []
    return {profile_id: encode_profile(state) for profile_id, state in states.items() if state}


def knows(expected: dict[str, bytes]) -> Callable[[list[tuple[str, Profile]]], None]:
    def check(told: list[tuple[str, Profile]]) -> None:
        asked = {key: profile.state for key, profile in told if "asked" in profile.state.traits}
        assert expected == {key: encode_profile(state) for key, state in asked.items()}

    return check


def on_a_stream(stream: test_stream.TestStream, check: Callable[[list[Any]], None], output: str = "profiles") -> None:
    options = PipelineOptions()
    options.view_as(StandardOptions).streaming = True
    with test_pipeline.TestPipeline(runner=BundleBasedDirectRunner(), options=options) as root:
        events = root | stream | beam.Map(lambda pair: pair).with_output_types(tuple[str, bytes])
        found = events | DetectChangesByProfile(plan())
        assert_that(found[output], check)


@pytest.mark.parametrize("seed", range(5))
def test_any_order_and_repetition_of_events_is_known_as_in_a_bounded_run(seed: int) -> None:
    chance = Random(seed)
    order = [*EVENTS, *chance.choices(EVENTS, k=5)]
    chance.shuffle(order)
    stream = test_stream.TestStream()
    for number, event in enumerate(order):
        stream.add_elements([keyed(event)]).advance_watermark_to(number)
    stream.add_elements([keyed(probe) for probe in PROBES]).advance_watermark_to_infinity()
    on_a_stream(stream, knows(known_after(EVENTS)))


def test_a_bundle_of_many_events_is_known_as_in_a_bounded_run() -> None:
    with test_pipeline.TestPipeline(runner=FnApiRunner()) as root:
        events = [keyed(event) for event in [*EVENTS, *PROBES]]
        found = root | beam.Create(events).with_output_types(tuple[str, bytes]) | DetectChangesByProfile(plan())
        assert_that(found.profiles, knows(known_after(EVENTS)))


def test_what_is_known_is_told_when_it_changes_be_it_only_by_its_time() -> None:
    scores = [(1, 10), (1, 10), (2, 10), (3, 11), (2, 12), (4, 11.0)]
    stream = test_stream.TestStream()
    for number, (hours, value) in enumerate(scores):
        event = {"type": "trait", "profile_id": "ana", "at": at(hours), "computation": "score", "value": value}
        stream.add_elements([keyed(event)]).advance_watermark_to(number)

    def check(told: list[tuple[str, Profile]]) -> None:
        changes: list[Changes] = sorted((profile.changes for _, profile in told), key=repr)
        first, later = [{"score": [(micros(hour(1)), 10)]}, {"score": [(micros(hour(3)), 11)]}]
        assert [first, later, {"score": []}, {"score": []}] == changes  # told again at 2 and at 4

    on_a_stream(stream.advance_watermark_to_infinity(), check)


def test_a_bad_record_becomes_a_dead_letter_and_the_next_event_is_read() -> None:
    stream = test_stream.TestStream()
    stream.add_elements([("ana", b'{"type":"trait","profile_id":"ana"}'), ("ana", b" "), keyed(EVENTS[3])])
    stream.advance_watermark_to_infinity()

    def check(letters: list[Any]) -> None:
        assert [("Parse", "missing_field", "$.at")] == [(each.step, each.reason, each.field) for each in letters]

    on_a_stream(stream, check, "bad")
