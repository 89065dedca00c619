"""Dead letters of a job: what is given to it of each, and which command takes them."""

import msgspec
import pytest

from pipeline.cli import main
from pipeline.replay import Letters, Wanted, gathered
from pipeline.streaming.kafka import Kafka
from pipeline.streaming.replaying import rows_of
from schemas.calls import Call, Identifier
from schemas.dead_letters import DeadLetter, mask
from schemas.facts import Addressed, EventFact, RetryFact

LOG = Kafka("localhost:9092", "shop")
ANA = Identifier("email", "ana@example.com")


def of_call(kind: str = "identify", ask: int = 5, **more: str) -> DeadLetter:
    """As a sender writes it."""
    call = Call("ana", kind, ANA, "score", 7, 1, ask, slot=3)  # type: ignore[arg-type]
    payload = msgspec.to_builtins(msgspec.structs.asdict(call))
    reason, refused = more.get("reason", "invalid_value"), more.get("refused", "0a0b")
    return DeadLetter(step="Deliver", reason=reason, connection="hook", payload=payload, refused=refused)


def of_record(payload: str, source: str = "", line: int | None = None) -> DeadLetter:
    return DeadLetter(step="Parse", reason="unknown_computation", source=source, line=line, payload=payload)


def found(*letters: DeadLetter, wanted: Wanted | None = None, replayed: tuple[tuple[int, int], ...] = ()) -> Letters:
    return gathered(letters, wanted or Wanted(), set(replayed))


def given(letters: Letters) -> list[tuple[str, object]]:
    """The facts, and the keys of the notes."""
    return [
        (topic, msgspec.msgpack.decode(value, type=Addressed) if topic == "shop.facts" else (key or b"").decode())
        for rows in rows_of(LOG, 9, letters)
        for topic, key, value in rows
        if value is not None
    ]


def test_a_call_goes_to_its_profile_with_the_version_that_counts() -> None:
    (((topic, about),)) = given(found(of_call()))
    assert "shop.facts" == topic
    assert isinstance(about, Addressed)
    assert isinstance(about.fact, RetryFact)
    assert ("ana", 3, b"\x0a\x0b", 9) == (about.subject, about.fact.call.slot, about.fact.refused, about.fact.version)


def test_a_call_that_failed_twice_goes_once() -> None:
    assert 1 == len(given(found(of_call(ask=5), of_call(ask=8))))
    assert 2 == len(given(found(of_call(), of_call(refused="0c"))))


def test_a_deletion_goes_with_a_note_and_never_again() -> None:
    letters = found(of_call("delete", ask=12))
    assert ["shop.facts", "shop.notes"] == [topic for topic, _ in given(letters)]
    assert "replayed:3:12" == given(letters)[1][1]
    assert [] == given(found(of_call("delete", ask=12), replayed=((3, 12),)))


def test_a_record_of_a_topic_is_an_event_once_more() -> None:
    line = '{"type": "trait", "profile_id": "ana"}'
    assert [("shop.facts", Addressed("ana", EventFact(line.encode(), version=9)))] == given(found(of_record(line)))


def test_a_record_of_a_file_keeps_its_place() -> None:
    line = '{"type": "trait", "profile_id": "ana"}'
    expected = [("shop.facts", Addressed("ana", EventFact(line.encode(), "a.jsonl", 7, False, 9)))]
    assert expected == given(found(of_record(line, "a.jsonl", 7)))


def test_a_record_that_stayed_bad_has_one_dead_letter_more_and_goes_once() -> None:
    assert 1 == len(given(found(of_record("{}"), of_record("{}"))))
    assert 2 == len(given(found(of_record("{}", "a.jsonl", 1), of_record("{}", "a.jsonl", 2))))


def test_what_is_not_kept_whole_is_counted_and_stays() -> None:
    letters = found(mask(of_record('{"type": "trait"}')), mask(of_call()), mask(of_call("delete")))
    assert 1 == len(given(letters))  # of a call its digest is enough, if it is no deletion
    assert {"": 1, "hook": 1} == letters.partial


@pytest.mark.parametrize(
    ("wanted", "number"),
    [
        (Wanted(), 3),
        (Wanted(connection="hook"), 2),
        (Wanted(reason="expired"), 1),
        (Wanted(profile="ana"), 3),
        (Wanted(profile="bob"), 0),
        (Wanted(connection="other"), 0),
    ],
)
def test_letters_are_chosen_as_those_of_runs(wanted: Wanted, number: int) -> None:
    letters = (of_call(), of_call(reason="expired", refused="0d"), of_record('{"type": "x", "profile_id": "ana"}'))
    assert number == len(given(found(*letters, wanted=wanted)))


# -- the command


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ([], "one of the following arguments is required: --state, or --log for those of a streaming job"),
        (["--log", "shop"], "expected kafka://HOST:PORT/NAME"),
        (["--log", "kafka://localhost:1/shop", "--state", "s"], "--state does not go with --log"),
        (["--log", "kafka://localhost:1/shop", "--parallelism=2"], "unrecognized arguments: --parallelism=2"),
        (["--log", "kafka://localhost:1/shop", "--gateway", "http://x"], "--gateway does not go with --log"),
        (["--log", "kafka://localhost:1/shop", "--stop-after", "5m"], "--stop-after does not go with --log"),
    ],
)
def test_what_is_asked_wrongly_is_said(options: list[str], words: str, capfd: pytest.CaptureFixture[str]) -> None:
    try:
        code = main(["replay", *options])
    except SystemExit as ended:
        code = ended.code  # type: ignore[assignment]
    assert 1 == code
    assert words in capfd.readouterr().err
