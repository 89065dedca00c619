"""Files beside topics: what of a file goes to the job, and what is read before what."""

import gzip
import json
from pathlib import Path

import msgspec
import pytest

from pipeline.cli import main
from pipeline.files import InputError
from pipeline.streaming.graph import _AddressFn
from pipeline.streaming.history import Counts, facts_of, look
from pipeline.streaming.kafka import Kafka
from pipeline.streaming.source import Part, Reading, readings
from pipeline.vendors import made
from pipeline.workspace import load
from schemas.facts import Addressed, EventFact
from schemas.registry import Registry
from tests.pipeline.running import profile, score, write_events
from tests.pipeline.running import workspace as write_workspace
from transforms.logic.plan import Plan, make_plan
from transforms.logic.registry import enter

LOG = Kafka("localhost:9092", "shop")
AT = "2026-01-05T09:00:00Z"
NOW = 1_770_000_000_000_000


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    workspace = load(str(write_workspace(tmp_path / "workspace.yaml", "hook")))
    vendors = made(workspace).vendors
    return make_plan(workspace, vendors, enter(Registry(), workspace, vendors, NOW)[0], NOW)


def facts(path: Path, plan: Plan, counts: Counts | None = None) -> list[tuple[str, EventFact]]:
    found = []
    for _, packed in facts_of(str(path), plan, 7, counts or Counts()):
        about = msgspec.msgpack.decode(packed, type=Addressed)
        assert isinstance(about.fact, EventFact)
        found.append((about.subject, about.fact))
    return found


def said(*notes: str, **more: object) -> None:
    """Nobody listens."""


# -- what a file says


def test_each_event_has_its_place_and_the_version_it_is_read_with(tmp_path: Path, plan: Plan) -> None:
    path = write_events(tmp_path / "a.jsonl", profile("u1", AT, "u1@example.com"), score("u2", AT, 5))
    lines = path.read_bytes().splitlines()
    expected = [
        (who, EventFact(line, str(path), n, False, 7)) for who, n, line in zip(("u1", "u2"), (1, 2), lines, strict=True)
    ]
    assert expected == facts(path, plan)


def test_what_is_no_event_goes_too_and_is_counted_apart(tmp_path: Path, plan: Plan) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps(score("u1", AT, 5)) + '\n\n{"type": "trait"\n' + json.dumps(score("u2", AT, 6)))
    counts = Counts()
    assert [1, 3, 4] == [fact.number for _, fact in facts(path, plan, counts)]
    assert (2, 1) == (counts.events, counts.dead_letters)


def test_packed_files_are_read_and_count_lines_too(tmp_path: Path, plan: Plan) -> None:
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(gzip.compress(b"\n".join(json.dumps(score(f"u{n}", AT, n)).encode() for n in range(3))))
    assert [("u0", 1), ("u1", 2), ("u2", 3)] == [(who, fact.number) for who, fact in facts(path, plan)]


def test_a_message_in_segments_format_says_its_events(tmp_path: Path, plan: Plan) -> None:
    path = tmp_path / "a.jsonl"
    message = {"type": "identify", "userId": "u1", "timestamp": AT, "traits": {"email": "u1@example.com"}}
    path.write_text(json.dumps(message))
    counts = Counts()
    found = facts(path, plan, counts)
    assert {("u1", 1)} == {(who, fact.number) for who, fact in found}
    assert ["profile"] == [json.loads(fact.line)["type"] for _, fact in found]
    assert (1, 0) == (counts.events, counts.dead_letters)


# -- which files


def test_a_file_is_known_by_its_events_and_not_by_its_name_or_packing(tmp_path: Path) -> None:
    lines = b'{"a": 1}\n{"b": 2}\n'
    (tmp_path / "a.jsonl").write_bytes(lines)
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress(lines))
    (tmp_path / "c.jsonl").write_bytes(lines + b'{"c": 3}\n')
    first, packed, longer = look([f"{tmp_path}/*"], [], said)
    assert first.digest == packed.digest
    assert first.digest != longer.digest


def test_lines_that_are_divided_otherwise_are_another_file(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b'{"a": 1}\n{"b": 2}\n')
    (tmp_path / "b.jsonl").write_bytes(b'{"a": 1}{"b": 2}\n')
    first, second = look([f"{tmp_path}/*"], [], said)
    assert first.digest != second.digest


def test_a_file_that_is_cut_short_stops_everything(tmp_path: Path) -> None:
    whole = gzip.compress(b"\n".join(json.dumps(score(f"u{n}", AT, n * 7919)).encode() for n in range(20_000)))
    (tmp_path / "a.jsonl").write_text('{"a": 1}')
    (tmp_path / "b.jsonl.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"b\.jsonl\.gz: it is cut short or damaged"):
        look([f"{tmp_path}/*"], [], said)


@pytest.mark.parametrize(
    ("events", "code", "words"),
    [
        ("there-is-none.jsonl", 3, "there-is-none.jsonl: there is no such file; correct the path"),
        ("kafak://localhost:9092/events", 1, "kafak://localhost:9092/events: files cannot be read from kafak://"),
        ("kafka://localhost:9092", 1, "expected kafka://HOST:PORT/NAME"),
    ],
)
def test_what_can_be_read_from_nowhere_is_said_before_anything_is_done(
    events: str, code: int, words: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    workspace = write_workspace(tmp_path / "workspace.yaml", "hook")
    options = ["--log", "kafka://localhost:1/shop", "--workspace", str(workspace), "--runner", "PrismRunner"]
    assert code == main(["run", "--streaming", "--events", events, "kafka://localhost:1/profiles", *options])
    assert words in capfd.readouterr().err


# -- in the job


def test_a_fact_of_the_history_goes_on_as_it_is(tmp_path: Path, plan: Plan) -> None:
    path = write_events(tmp_path / "a.jsonl", score("u1", AT, 5))
    (fact,) = facts_of(str(path), plan, 7, Counts())
    assert [fact] == list(_AddressFn(LOG).process((LOG.topic("history"), *fact)))


def parts(kind: str, *places: tuple[int, int]) -> list[Part]:
    """Partitions of a topic: start, stop."""
    return [Part(LOG, LOG.topic(kind), number, *place) for number, place in enumerate(places)]


def by_topic(made: list[Reading]) -> dict[str, set[tuple[tuple[Part, ...], str, str]]]:
    found: dict[str, set[tuple[tuple[Part, ...], str, str]]] = {}
    for reading in made:
        for part in reading.parts:
            found.setdefault(part.topic.removeprefix("shop."), set()).add((reading.first, reading.of, reading.group))
    return found


def test_the_history_is_read_before_the_rest_and_the_state_before_the_history() -> None:
    state, past = parts("state", (0, 7), (0, 0)), parts("history", (2, 5), (4, 4))
    rest = parts("facts", (0, -1), (0, -1))
    found = by_topic(readings([*state, *rest], "shop.job", past))
    ((_, _, once),) = found["state"]
    assert {((state[0],), once, "shop.job")} == found["history"]
    assert {((past[0],), "shop.job", "shop.job")} == found["facts"]


def test_a_history_goes_on_behind_the_end_that_it_has_now() -> None:
    """Files may be given to a job that goes on from a savepoint: its clients are those of its beginning."""
    for place in ((2, 5), (5, 5)):
        made = readings(parts("facts", (0, -1)), "shop.job", parts("history", place))
        assert {-1} == {part.stop for reading in made for part in reading.parts}


def test_without_news_a_history_shares_the_clients_of_the_rest() -> None:
    made = readings(parts("facts", (0, -1), (0, -1)), "shop.job", parts("history", (5, 5), (0, 0)))
    assert [["shop.facts", "shop.history"]] * 2 == [[part.topic for part in reading.parts] for reading in made]
    assert {()} == {reading.first for reading in made}
