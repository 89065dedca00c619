"""One person by the log of a job: the same is said as of a directory that has the same, without a broker."""

import shutil
from collections.abc import Mapping
from contextlib import closing
from datetime import UTC, datetime

import msgspec
import pytest

from pipeline.cli import main
from pipeline.operator_words import people_shown
from pipeline.paused import keep_paused
from pipeline.person import find_people
from pipeline.sent import Receipts
from pipeline.state_db import StateDb
from pipeline.streaming.kafka import Kafka, KafkaProblem
from pipeline.streaming.log import PAUSED, Kept, fact_record
from pipeline.streaming.outcomes import Outcomes
from pipeline.streaming.places import place_of
from pipeline.streaming.standing import Standing
from pipeline.streaming.versions import Version
from pipeline.streaming.why_log import Found, find_states, why_of
from pipeline.vendors import made
from pipeline.why import why
from pipeline.why_words import HERE, JOB, Doers
from pipeline.workspace import load
from schemas.calls import Call, Identifier
from schemas.dead_letters import DeadLetter
from schemas.facts import ReceiptFact
from schemas.receipts import Receipt
from schemas.registry import decode_registry
from schemas.state import FORMAT, Known, ProfileState, encode_profile
from tests.pipeline.conftest import Shop
from tests.pipeline.memory_kafka import Topics, in_memory
from tests.pipeline.running import Message, profile, score, vip
from transforms.keyed import addressed
from transforms.logic.portion import tombstone
from transforms.sending.log import Mark

LOG = Kafka("localhost:9092", "shop")
NOW = datetime.now(UTC)
DAY_1, DAY_2, DAY_3 = (f"2026-01-0{day}T00:00:00Z" for day in (1, 2, 3))
pack = msgspec.msgpack.encode


@pytest.fixture
def topics(monkeypatch: pytest.MonkeyPatch) -> Topics:
    return in_memory(monkeypatch)


class Job:
    """A log that knows what a state directory knows. `named`: by connection, the name in its topics."""

    def __init__(self, shop: Shop, topics: Topics, named: Mapping[str, str] = {}) -> None:
        self._shop, self._topics = shop, topics
        shutil.rmtree(shop.state / "runs")  # what is said of runs, a log knows nothing of
        with closing(StateDb.open(shop.state, to_read=True)) as db:
            for key, state in db.get(db.names("", 1_000)).items():
                topics.put("shop.state", key.encode(), state)
            for number, name in enumerate(decode_registry(db.registry()).connections):
                self._calls(db, number, name, named.get(name, name))
            text, vendors = shop.workspace.read_text(), made(load(str(shop.workspace))).vendors
            self.version = Version(1, text, {}, db.registry(), vendors, b"", topics=dict(named))
            topics.put("shop.workspace", b"version", pack(self.version))

    def _calls(self, db: StateDb, number: int, name: str, named: str) -> None:
        places: dict[int, int] = {}
        for (packed,) in db.rows("SELECT call FROM calls WHERE connection = ? ORDER BY ask", number):
            call = msgspec.msgpack.decode(packed, type=Call)
            places[call.ask] = place_of(len(places))
            self._topics.put(f"shop.calls.{named}", b"", packed)
        with closing(Receipts(db.folder, name)) as receipts:
            for _, receipt in receipts.after(0, 10_000):
                self._topics.put("shop.facts", *addressed(receipt.profile_id, ReceiptFact(receipt)))
                if receipt.ask in places:
                    of_sender = msgspec.structs.replace(receipt, ask=places[receipt.ask])
                    self._topics.put(f"shop.sent.{named}", b"", pack(of_sender))
            for _, letter in receipts.letters():
                self._topics.put("shop.dead", b"", msgspec.json.encode(letter))

    def says(self, who: str, doers: Doers = HERE) -> object:
        found = why_of(LOG, self.version, who, 10, NOW)
        return self._shown(who, found, doers)

    def directory_says(self, who: str) -> object:
        with closing(StateDb.open(self._shop.state, to_read=True)) as db:
            ids = find_people(db, who)
            people = [why(db, self.version.workspace(), each, NOW) for each in ids]
        return self._shown(who, Found(ids, people), HERE)

    def _shown(self, who: str, found: Found, doers: Doers) -> object:
        shown = people_shown(who, found.ids, found.people, self.version.workspace(), NOW, doers)
        for person in shown["people"]:
            for sync in (sync for connection in person["connections"] for sync in connection["syncs"]):
                sync["lines"] = [line for line in sync["lines"] if not line.startswith("tried on")]  # a sender knows
        return shown


def test_a_log_says_of_each_person_what_a_directory_says(shop: Shop, topics: Topics) -> None:
    def answer(host: str, message: Message) -> int:
        return 422 if message.get("userId") == "bob" else 200

    shop.receiver.answer = answer
    for who, email in (("ana", "ana@x.example"), ("bob", "BOB@x.example"), ("dee", "dee@x.example")):
        shop.run(profile(who, DAY_1, email), vip(who, DAY_1), score(who, DAY_1, 7))
    shop.run(profile("anna", DAY_1, "Ana@x.example"), {"type": "delete", "profile_id": "dee", "at": DAY_2})
    shop.run()  # what was told is folded
    shop.run(profile("cid", DAY_2, "cid@x.example"), score("cid", DAY_2, 9))  # and this is not
    shop.receiver.answer = lambda host, message: 401
    shop.run(*(score(who, DAY_3, 8) for who in ("ana", "bob")), vip("cid", DAY_3), score("anna", DAY_3, 1))
    job = Job(shop, topics)
    for who in ("ana", "bob", "cid", "dee", "anna", "email:ANA@x.example", "email:bob@x.example"):
        assert job.directory_says(who) == job.says(who), who
    text = str(job.says("bob"))
    assert "it waits behind 5 calls" in text
    assert "invalid_value" in text
    assert "as soon as a sender delivers" in str(job.says("anna", JOB))


def test_a_pause_is_why_it_waits(shop: Shop, topics: Topics) -> None:
    shop.receiver.answer = lambda host, message: 401
    shop.run(profile("ana", DAY_1), score("ana", DAY_1, 7))
    job = Job(shop, topics)
    keep_paused(shop.state, {"hook": DAY_2})
    topics.put("shop.kept.hook", *fact_record(PAUSED, DAY_2))
    assert f"it waits: the connection is paused since {DAY_2}" in str(job.says("ana"))
    assert job.directory_says("ana") == job.says("ana")


def test_what_a_sender_told_and_the_job_has_not_folded_is_told(shop: Shop, topics: Topics) -> None:
    shop.run(profile("ana", DAY_1), score("ana", DAY_1, 7))
    text = str(Job(shop, topics).says("ana"))
    assert (True, False) == ("told 7: asked on" in text, "waits" in text)


def test_a_connection_that_is_renamed_keeps_its_topics(shop: Shop, topics: Topics) -> None:
    shop.run(profile("ana", DAY_1), score("ana", DAY_1, 7))
    shop.workspace.write_text(shop.workspace.read_text().replace("name: hook\n", "name: crm\n    was: hook\n"))
    shop.receiver.answer = lambda host, message: 401
    shop.run(score("ana", DAY_2, 8))
    job = Job(shop, topics, {"hook": "hook", "crm": "hook"})
    assert job.directory_says("ana") == job.says("ana")
    assert "the value 8 was asked on" in str(job.says("ana"))


def test_what_is_freed_while_it_is_read_is_read_again(shop: Shop, topics: Topics) -> None:
    shop.receiver.answer = lambda host, message: 401
    shop.run(profile("ana", DAY_1), score("ana", DAY_1, 7))
    job = Job(shop, topics)
    topics.freed.append("shop.calls.hook")
    assert job.directory_says("ana") == job.says("ana")
    assert [] == topics.freed


@pytest.mark.parametrize("who", ["bob", "email:ana@x.example"])
def test_a_state_of_a_newer_version_is_said_with_its_topic(shop: Shop, topics: Topics, who: str) -> None:
    shop.run(profile("ana", DAY_1, "ana@x.example"))
    job = Job(shop, topics)
    topics.put("shop.state", b"bob", bytes([FORMAT + 1]))
    with pytest.raises(KafkaProblem, match=r"^shop\.state: a newer version of profilecast wrote this state"):
        job.says(who)


# -- who it is
def known(topics: Topics, name: str, *emails: str, deleted: int | None = None) -> bytes:
    state = ProfileState(ids=[Known("email", email, 1, 1) for email in emails], deleted=deleted)
    topics.put("shop.state", (tombstone(name) if deleted and not emails else name).encode(), encode_profile(state))
    return encode_profile(state)


def test_by_a_profile_id_the_rest_of_the_states_is_not_read(topics: Topics) -> None:
    for number in range(30):
        known(topics, f"u{number}", f"u{number}@x.example")
    assert ["u7"] == [*find_states(LOG, "u7")]
    assert len(topics.read) <= 2
    assert ["u8"] == [*find_states(LOG, "email:U8@x.example")]
    assert {("shop.state", 0), ("shop.state", 1), ("shop.state", 2)} == topics.read


def test_the_newest_record_of_a_key_wins_an_empty_one_too(topics: Topics) -> None:
    known(topics, "ana", "old@x.example")
    newest = known(topics, "ana", "new@x.example")
    known(topics, "bob", "bob@x.example")
    topics.put("shop.state", b"bob", None)
    assert {"ana": newest} == find_states(LOG, "ana") == find_states(LOG, "email:new@x.example")
    assert {} == find_states(LOG, "email:old@x.example") == find_states(LOG, "email:bob@x.example")
    assert {} == find_states(LOG, "bob")


def test_of_somebody_who_was_deleted_the_deletion_is_known(topics: Topics) -> None:
    known(topics, "ana", "ana@x.example")
    stone = known(topics, "ana", deleted=5)  # and an engine died before it took the other one away
    assert {"ana": stone} == find_states(LOG, "ana") == find_states(LOG, "email:ana@x.example")


def test_a_profile_whose_id_looks_like_an_identifier_is_found_by_it(topics: Topics) -> None:
    known(topics, "email:ana@x.example")
    known(topics, "bob", "ana@x.example")
    assert ["email:ana@x.example"] == [*find_states(LOG, "email:ana@x.example")]


# -- where a call stands
def call(who: str, ask: int, backfill: bool = False, kind: str = "identify") -> Call:
    return Call(who, kind, Identifier("user_id", who), "score", 1, 1, ask, slot=1, backfill=backfill)  # type: ignore[arg-type]


def test_live_calls_go_first_and_those_of_a_backfill_in_their_order() -> None:
    found = Standing(Kept(marks={5: Mark(maybe=True), 6: Mark(job="j")}))
    calls = [
        call("x", 90), call("ana", 50, True), call("y", 10, True), call("z", 5, kind="cancel"), call("ana", 51),
        call("bob", 20, True), call("w", 99),
    ]  # fmt: skip
    for place, each in enumerate(calls, 1):
        found.enter(place, each, {"ana", "bob"})
    assert [3, 1, 5] == [found.before(*of) for of in (("ana", 50), ("ana", 51), ("bob", 20))]
    assert {51: Mark(maybe=True)} == found.marks_of("ana")


# -- dead letters
def test_the_newest_dead_letter_is_of_the_newest_receipt() -> None:
    def receipt(ask: int, refused: bytes = b"\x01", fate: str = "rejected") -> Receipt:
        return Receipt("ana", "identify", Identifier("email", "a"), 3, ask, 0, b"", fate, 1.0, refused=refused)  # type: ignore[arg-type]

    def letter(words: str, refused: str = "01", slot: int = 3) -> DeadLetter:
        payload = {"slot": slot, "identifier": ["email", "a"]}
        return DeadLetter(step="Deliver", reason="invalid_value", answer=words, refused=refused, payload=payload)

    became = Outcomes(
        [receipt(5), receipt(6, b"", "delivered"), receipt(7), receipt(8, b"\x02"), receipt(9, b"")],
        [letter("older"), letter("newer"), letter("other", "02"), letter("of another", slot=4), letter("deletion", "")],
    )
    found = [(ask, each.answer) for ask, each in became.letters({3})]
    assert [(5, "older"), (7, "newer"), (8, "other"), (9, "deletion")] == found


# -- the command
@pytest.mark.parametrize(
    ("options", "words"),
    [
        ([], "one of the following arguments is required: --state, or --log for what a streaming job knows"),
        (["--log", "shop"], "expected kafka://HOST:PORT/NAME"),
        (["--log", "kafka://localhost:1/shop", "--state", "s"], "--state does not go with --log"),
        (["--log", "kafka://localhost:1/shop", "--workspace", "w.yaml"], "the workspace is the published one"),
    ],
)
def test_what_is_asked_wrongly_is_said(options: list[str], words: str, capfd: pytest.CaptureFixture[str]) -> None:
    try:
        code = main(["why", "ana", *options])
    except SystemExit as ended:
        code = ended.code  # type: ignore[assignment]
    assert 1 == code
    assert words in capfd.readouterr().err


def test_the_command_says_it(shop: Shop, topics: Topics, capsys: pytest.CaptureFixture[str]) -> None:
    shop.run(profile("ana", DAY_1, "ana@x.example"), score("ana", DAY_1, 7))
    Job(shop, topics)
    capsys.readouterr()
    assert 0 == main(["why", "email:ana@x.example", "--log", "kafka://localhost:1/shop"])
    lines = capsys.readouterr().out.splitlines()
    assert "email:ana@x.example: 1 profile: ana" == lines[0]
    assert any("user_id ana: told 7: asked on 20" in line for line in lines)
    assert 1 == main(["why", "zoe", "--log", "kafka://localhost:1/shop"])
    assert 1 == main(["why", "ana", "--connection", "hok", "--log", "kafka://localhost:1/shop"])
    said = capsys.readouterr().err
    assert "zoe: nobody is known by that" in said
    assert "did you mean hook?" in said


def test_a_log_that_no_job_has_is_said(topics: Topics, capfd: pytest.CaptureFixture[str]) -> None:
    assert 3 == main(["why", "ana", "--log", "kafka://localhost:1/shop"])
    assert "shop: no job has this --log; correct the address" in capfd.readouterr().err
