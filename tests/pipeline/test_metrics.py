"""`GET /metrics`: what Prometheus reads is what the receiver got. And what the docs and `deploy/` name exists."""

import json
import os
import re
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml
from prometheus_client.parser import text_string_to_metric_families

from pipeline.metrics import METRICS, metrics_page
from tests.pipeline.running import Message, Receiver, profile, receiving, score
from tests.pipeline.serving import Service, now, serving, until

ROOT = Path(__file__).parents[2]
OLD = "2020-01-01T00:00:00Z"
Sample = tuple[str, frozenset[tuple[str, str]]]


class Shop:
    """A service, and the statuses that its receiver answered."""

    def __init__(self, receiver: Receiver, service: Service) -> None:
        self.receiver, self.service = receiver, service
        self.answered: Counter[int] = Counter()
        self.faults: dict[str, list[int]] = {}  # statuses for a person, before the good one
        receiver.answer = self._answer

    def _answer(self, host: str, message: Message) -> int:
        left = self.faults.get(message.get("userId", ""), [])
        status = left.pop(0) if left else 200
        self.answered[status] += 1
        return status

    def tell(self, who: str, value: int, *faults: int) -> None:
        self.faults[who] = list(faults)
        self.service.append("events.jsonl", profile(who, now()), score(who, now(), value))

    def metrics(self, accept: str = "text/plain") -> dict[Sample, float]:
        answer = requests.get(f"{self.service.page}/metrics", headers={"Accept": accept}, timeout=60)
        assert 200 == answer.status_code
        return read(answer.text)

    def value(self, name: str, **labels: str) -> float:
        return self.metrics()[name, frozenset(labels.items())]

    def quiet(self) -> None:
        """Until all is delivered or rejected, and folded."""
        until(lambda: self.service.connection()["waiting"] == 0)


def read(page: str) -> dict[Sample, float]:
    """Every sample of a page, by name and labels."""
    families = [*text_string_to_metric_families(page)]
    return {(s.name, frozenset(s.labels.items())): s.value for family in families for s in family.samples}


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    root = tmp_path_factory.mktemp("metrics")
    os.environ["XDG_STATE_HOME"] = str(root / "user")
    with receiving() as receiver, serving(root, receiver.url) as service:
        shop = Shop(receiver, service)
        shop.tell("ana", 1)
        until(lambda: receiver.messages)
        shop.quiet()
        yield shop


def agrees(shop: Shop) -> None:
    """The page says what the receiver saw."""
    found, hook = shop.metrics(), ("connection", "hook")

    def value(name: str, *labels: tuple[str, str]) -> float:
        return found[name, frozenset((hook, *labels))]

    assert len(shop.receiver.messages) == value("profilecast_requests_total")
    for digit in (2, 3, 4, 5):
        number = sum(n for status, n in shop.answered.items() if status // 100 == digit)
        assert number == value("profilecast_answers_total", ("status", f"{digit}xx"))
    assert shop.answered[429] == value("profilecast_throttled_requests_total")
    assert shop.answered[0] == value("profilecast_unanswered_requests_total")
    assert shop.answered[200] == value("profilecast_calls_total", ("outcome", "delivered"))
    assert shop.answered[400] == value("profilecast_calls_total", ("outcome", "rejected"))
    answers = sum(n for s, n in shop.answered.items() if s)
    assert answers == value("profilecast_answer_seconds_bucket", ("le", "+Inf"))
    assert answers == value("profilecast_answer_seconds_count")
    assert 0 < value("profilecast_answer_seconds_sum")


def test_requests_calls_and_answers_are_those_that_the_receiver_saw(shop: Shop) -> None:
    shop.tell("bob", 1, 400)
    shop.tell("cem", 1, 503)
    shop.tell("dan", 1, 429)
    shop.tell("eva", 1, 0)
    until(lambda: 4 == sum(not shop.faults.get(who) for who in ("bob", "cem", "dan", "eva")))
    until(lambda: len(shop.receiver.messages) >= 8)
    shop.quiet()
    agrees(shop)


def test_a_connection_that_begins_anew_goes_on_counting(shop: Shop) -> None:
    before = shop.value("profilecast_requests_total", connection="hook")
    with shop.service.workspace.open("a") as file:
        file.write("# changed\n")
    os.kill(shop.service.process.pid, signal.SIGHUP)
    until(lambda: shop.service.said("reloaded"))
    shop.tell("fay", 1)
    until(lambda: shop.value("profilecast_requests_total", connection="hook") > before)
    shop.quiet()
    agrees(shop)


def test_what_the_service_folded_is_counted(shop: Shop) -> None:
    before = shop.metrics()
    shop.service.append("events.jsonl", {"type": "nonsense"}, profile("gil", now()))
    bad, events = (("profilecast_unusable_records_total", frozenset()), ("profilecast_events_total", frozenset()))
    until(lambda: shop.metrics()[bad] == before[bad] + 1)
    until(lambda: shop.metrics()[events] > before[events])
    assert shop.value("profilecast_last_fold_timestamp_seconds") >= shop.value("profilecast_start_time_seconds") > 1e9


def test_what_waits_has_an_age(shop: Shop) -> None:
    shop.tell("hal", 1, 503, 503)
    until(lambda: shop.value("profilecast_oldest_change_seconds", connection="hook") > 0)
    until(lambda: shop.value("profilecast_waiting_calls", connection="hook") == 0)
    assert 0 == shop.value("profilecast_oldest_change_seconds", connection="hook")


def test_history_has_an_age_while_the_vendor_is_silent(shop: Shop) -> None:
    """An event that is older than its sync goes behind what happens now, and takes as long as it takes."""
    shop.faults["ida"] = [503] * 100
    shop.service.append("events.jsonl", profile("ida", OLD), score("ida", OLD, 1))
    until(lambda: shop.service.connection()["silent"])
    assert 0 < shop.value("profilecast_oldest_change_seconds", connection="hook")
    shop.faults["ida"] = []
    shop.quiet()


def test_a_service_that_is_well_says_so(shop: Shop) -> None:
    assert 1 == shop.value("profilecast_well")
    for kind in ("stopped", "blocked", "trouble", "silent"):
        assert 0 == shop.value("profilecast_connection_trouble", connection="hook", kind=kind)
    for kind in ("state", "workspace", "unreadable"):
        assert 0 == shop.value("profilecast_service_trouble", kind=kind)
    assert 0 < shop.value("process_resident_memory_bytes")


def test_nothing_of_people_is_on_the_page(shop: Shop) -> None:
    page = requests.get(f"{shop.service.page}/metrics", timeout=60).text
    assert [] == [who for who in ("ana", "bob", "cem", "eva", "gil", "hal", "ida") if re.search(rf"\b{who}\b", page)]
    assert {"connection", "outcome", "status", "kind", "le"} >= {
        name for (metric, labels) in read(page) for name, _ in labels if metric.startswith("profilecast_")
    }


def test_each_family_is_described_and_each_description_is_there(shop: Shop) -> None:
    page = requests.get(f"{shop.service.page}/metrics", timeout=60).text
    described = dict(re.findall(r"^# TYPE (profilecast_\w+) (\w+)$", page, re.MULTILINE))
    assert described == {metric.shown: metric.kind for metric in METRICS}


# -- without a service
CONNECTION: dict[str, Any] = {
    "waiting": 5, "scheduled": 2, "delivered": 1, "rejected": 2, "expired": 3, "superseded": 4, "cap": "600/m",
    "requests_per_second": 2.5, "seconds_left": 9, "stopped": "the vendor refuses ana@x.example", "blocked": {"k": "w"},
    "trouble": "", "silent": "", "elsewhere": True, "paused": "", "oldest_change_seconds": 7.5, "requests": 12,
    "statuses": {"200": 5, "204": 1, "429": 2, "none": 3, "unreachable": 1}, "answers": {"0.1": 3, "30": 4, "more": 1},
    "answer_seconds": 50.0,
}  # fmt: skip


def made(status: dict[str, Any], well: bool = True) -> dict[Sample, float]:
    page, _ = metrics_page(lambda: status, lambda: well)("text/plain")
    return read(page.decode())


def test_every_number_stands_under_its_name() -> None:
    found = made({"version": 3, "trouble": "Kafka", "connections": {"a": CONNECTION}}, well=False)
    of = lambda name, **labels: found[name, frozenset({"connection": "a", **labels}.items())]  # noqa: E731
    assert (0, 3) == (found["profilecast_well", frozenset()], found["profilecast_workspace_version", frozenset()])
    assert 1 == found["profilecast_service_trouble", frozenset({("kind", "state")})]
    assert [1, 2, 3, 4] == [
        of("profilecast_calls_total", outcome=each) for each in ("delivered", "rejected", "expired", "superseded")
    ]
    assert [6, 0, 2, 0] == [of("profilecast_answers_total", status=each) for each in ("2xx", "3xx", "4xx", "5xx")]
    assert (2, 4) == (of("profilecast_throttled_requests_total"), of("profilecast_unanswered_requests_total"))
    buckets = [of("profilecast_answer_seconds_bucket", le=each) for each in ("0.05", "0.1", "10.0", "30.0", "+Inf")]
    assert [0, 3, 3, 7, 8] == buckets
    assert (8, 50) == (of("profilecast_answer_seconds_count"), of("profilecast_answer_seconds_sum"))
    assert (10, 2.5) == (of("profilecast_cap_requests_per_second"), of("profilecast_requests_per_second"))
    assert [1, 1, 0] == [of("profilecast_connection_trouble", kind=each) for each in ("stopped", "blocked", "trouble")]
    assert (5, 2, 7.5, 9, 1, 0, 12) == tuple(
        of(f"profilecast_{name}")
        for name in (
            "waiting_calls", "scheduled_calls", "oldest_change_seconds", "backlog_seconds", "delivered_elsewhere",
            "paused", "requests_total",
        )
    )  # fmt: skip


def test_a_connection_without_a_cap_has_no_sample_of_it() -> None:
    found = made({"connections": {"a": {**CONNECTION, "cap": "none"}}})
    assert not [name for name, _ in found if name == "profilecast_cap_requests_per_second"]
    assert not [name for name, _ in found if name in ("profilecast_events_total", "profilecast_workspace_version")]


def test_openmetrics_is_spoken_to_who_asks_for_it() -> None:
    page, kind = metrics_page(lambda: {"connections": {"a": CONNECTION}}, lambda: True)("application/openmetrics-text")
    assert kind.startswith("application/openmetrics-text")
    assert page.endswith(b"# EOF\n")


# -- docs and deploy
def exposed() -> set[str]:
    """The names that queries may have."""
    parts = [(m.shown, "_bucket", "_count", "_sum") if m.kind == "histogram" else (m.shown,) for m in METRICS]
    return {part if part == names[0] else names[0] + part for names in parts for part in names}


def test_the_page_of_operations_lists_exactly_these() -> None:
    page = (ROOT / "docs" / "operations.md").read_text("utf-8")
    listed = re.findall(r"^\| `(profilecast_\w+)` \|", page, re.MULTILINE)
    assert [metric.shown for metric in METRICS] == listed


BOARD = json.loads((ROOT / "deploy" / "grafana" / "profilecast.json").read_text("utf-8"))
RULES = yaml.safe_load((ROOT / "deploy" / "prometheus" / "alerts.yaml").read_text("utf-8"))


def queries() -> Iterator[str]:
    for panel in BOARD["panels"]:
        yield from (target["expr"] for target in panel.get("targets", ()))
    yield from (each["query"]["query"] for each in BOARD["templating"]["list"] if each["type"] == "query")
    for group in RULES["groups"]:
        yield from (rule["expr"] for rule in group["rules"])


@pytest.mark.parametrize("query", sorted({*queries()}))
def test_queries_name_metrics_that_exist(query: str) -> None:
    named = set(re.findall(r"\bprofilecast_\w+", query))
    assert named
    assert set() == named - exposed()
    assert query.count("(") == query.count(")")
    labels = set(re.findall(r"(\w+)\s*(?:=~|=|!=|!~)\s*\"", query))
    assert labels <= {"connection", "outcome", "status", "kind", "job"}


@pytest.mark.parametrize("query", sorted({*queries()}))
def test_counters_are_asked_for_their_growth(query: str) -> None:
    for counter in re.findall(r"profilecast_\w+_(?:total|bucket|sum|count)\b", query):
        assert re.search(rf"(rate|increase)\({counter}", query), counter


def test_the_board_is_whole() -> None:
    assert {"title", "uid", "schemaVersion", "panels", "templating", "time"} <= set(BOARD)
    ids = [panel["id"] for panel in BOARD["panels"]]
    assert len(ids) == len(set(ids))
    places = [panel["gridPos"] for panel in BOARD["panels"]]
    for n, one in enumerate(places):
        assert one["x"] + one["w"] <= 24
        for other in places[n + 1 :]:
            apart = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
            assert apart or one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]


def test_each_rule_says_what_it_is_and_what_to_do() -> None:
    rules = [rule for group in RULES["groups"] for rule in group["rules"]]
    names = [rule["alert"] for rule in rules]
    assert len(names) == len(set(names))
    for rule in rules:
        assert re.fullmatch(r"Profilecast[A-Za-z]+", rule["alert"])
        assert re.fullmatch(r"\d+[smh]", rule["for"])
        assert rule["labels"]["severity"] in ("page", "ticket")
        assert {"summary", "description"} == set(rule["annotations"])
