"""The journal: what it keeps, what it tolerates, and what it refuses to believe."""

import json
from pathlib import Path

import pytest

from pipeline.disk import Appended, StoreError
from pipeline.journal import Fates, Journal, JournalPaths, fates
from schemas.calls import Call, Identifier
from schemas.outcomes import Delivered, Expired, Rejected
from transforms.logic.lanes import Item
from transforms.logic.ledger import Fate, expiry, refusal
from transforms.talk import Stopped

RUN, SIZES = "20260101T000000Z", [2, 3]
FIRST, SECOND = 0, 1 << 32  # of the two shards
ANA = Call("ana", "identify", Identifier("email", "ana@example.com"), "score", "high", 1, traits={"name": "Ana"})


def journal(folder: Path, masked: bool = False) -> Journal:
    paths = JournalPaths(folder / "hook.jsonl", folder / "letters.jsonl", folder / "memory.json")
    return Journal(RUN, "hook", b"settings", paths, masked)


def read(folder: Path, run: str = RUN, sizes: list[int] = SIZES) -> Fates:
    return fates(folder / "hook.jsonl", run, "hook", sizes)


def item(ref: int) -> Item:
    return Item(ref, ANA)


@pytest.fixture
def written(tmp_path: Path) -> Path:
    """A journal with one of everything."""
    hook = journal(tmp_path)
    hook.sent([FIRST, FIRST + 1, SECOND, SECOND + 1, SECOND + 2])
    hook.unsent([SECOND])
    hook.settled([(item(FIRST), Delivered()), (item(FIRST + 1), Rejected("conflict", "taken", attempts=1))])
    hook.settled([(item(SECOND + 1), Expired("silence", attempts=2))])
    hook.close()
    return tmp_path


def test_every_call_has_its_fate(written: Path) -> None:
    found = read(written)
    assert [Fate.DELIVERED, Fate.REJECTED] == list(found.fates[0])
    assert [Fate.PENDING, Fate.EXPIRED_MAYBE, Fate.MAYBE] == list(found.fates[1])
    assert 2 == found.left()
    assert found.acknowledged()
    assert [set(), {2}] == [set(times) for times in found.tried_at]


def test_the_first_time_without_an_answer_is_kept(tmp_path: Path) -> None:
    lines = [{"at": 1, "run": RUN, "connection": "hook"}, {"at": 5.5, "sent": [0]}, {"at": 9, "sent": [0, 1]}]
    write(tmp_path, lines)
    assert {0: 5.5, 1: 9.0} == read(tmp_path).tried_at[0]


def test_a_call_that_reached_nobody_keeps_its_time_until_it_is_answered(tmp_path: Path) -> None:
    hook = journal(tmp_path)
    hook.unreached([FIRST, FIRST + 1, SECOND, SECOND + 1], 5.5)
    hook.sent([FIRST, FIRST + 1])
    hook.unsent([FIRST])
    hook.settled([(item(SECOND), Expired("no such host", maybe=False))])
    hook.close()
    found = read(tmp_path)
    assert [Fate.PENDING, Fate.MAYBE, Fate.EXPIRED, Fate.PENDING, Fate.PENDING] == [*found.fates[0], *found.fates[1]]
    assert [{1: 5.5}, {1: 5.5}] == found.tried_at


def test_a_rejection_behind_an_attempt_without_an_answer_is_told_apart(tmp_path: Path) -> None:
    hook = journal(tmp_path)
    hook.sent([FIRST, FIRST + 1])
    refused = Rejected("invalid_value", "bad", maybe=True, attempts=3)
    hook.settled([(item(FIRST), refused), (item(FIRST + 1), Rejected("invalid_value", "bad", attempts=1))])
    hook.close()
    found = read(tmp_path)
    assert [Fate.REJECTED_MAYBE, Fate.REJECTED] == list(found.fates[0])
    assert not found.acknowledged()
    assert 3 == found.left()
    letters = [json.loads(line) for line in (tmp_path / "letters.jsonl").read_text().splitlines()]
    assert [3, 1] == [letter["attempts"] for letter in letters]


def test_what_an_earlier_attempt_may_have_told_is_not_forgotten_when_a_later_one_did_not_arrive(
    tmp_path: Path,
) -> None:
    lines = [{"at": 1, "run": RUN, "connection": "hook"}, {"at": 2, "sent": [0, 1]}, {"at": 3, "unsent": [1]}]
    again = [{"at": 4, "sent": [0, 1]}, {"at": 5, "unsent": [0, 1]}, {"at": 6, "sent": [0]}, {"at": 7, "unsent": [0]}]
    write(tmp_path, lines + again)
    found = read(tmp_path)
    assert [Fate.MAYBE, Fate.PENDING] == list(found.fates[0])
    assert {0: 2.0} == found.tried_at[0]


def test_a_journal_that_was_never_begun_says_that_nothing_was_sent(tmp_path: Path) -> None:
    assert 5 == read(tmp_path).left()


@pytest.mark.parametrize("cut", [b'{"at": 5, "delivered": [42', b"\x00" * 100, b'{"at"'])
def test_a_last_line_that_was_cut_is_no_line(written: Path, cut: bytes) -> None:
    before = read(written)
    with (written / "hook.jsonl").open("ab") as lines:
        lines.write(cut)
    assert before == read(written)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("garbage", "it is no line of a journal"),
        ('{"at": 1, "sent": ["0"]}', "it is no line of a journal"),
        ('{"at": 1, "sent": [-1]}', "it is no line of a journal"),
        ('{"at": 1, "delivered": [2]}', "a call that the outbox does not have"),
        (f'{{"at": 1, "rejected": [[{2 << 32}, "refused", ""]]}}', "a call that the outbox does not have"),
    ],
)
def test_a_line_that_no_run_wrote_is_named(written: Path, line: str, said: str) -> None:
    path = written / "hook.jsonl"
    path.write_text(path.read_text() + line + "\n" + '{"at": 1, "sent": [0]}\n')
    with pytest.raises(StoreError, match=said) as raised:
        read(written)
    assert str(raised.value).startswith(f"{path}:6: ")


def test_a_journal_of_another_outbox_is_refused(written: Path) -> None:
    with pytest.raises(StoreError, match=f"hook.jsonl:1: it belongs to the outbox of {RUN}, hook, not of other, hook"):
        read(written, run="other")


def test_a_journal_without_its_beginning_is_refused(written: Path) -> None:
    path = written / "hook.jsonl"
    path.write_bytes(path.read_bytes().split(b"\n", 1)[1])
    with pytest.raises(StoreError, match="it belongs to the outbox of nobody"):
        read(written)


def test_dead_letters_say_how_often_a_call_was_sent_and_how_it_is_remembered(written: Path) -> None:
    letters = [json.loads(line) for line in (written / "letters.jsonl").read_text().splitlines()]
    assert [("conflict", "taken", 1), ("expired", "silence", 2)] == [
        (letter["reason"], letter["answer"], letter["attempts"]) for letter in letters
    ]
    remembered = [refusal(ANA, b"settings").hex(), expiry(ANA, b"settings").hex()]
    assert remembered == [letter["refused"] for letter in letters]
    assert ["email", "ana@example.com"] == letters[0]["payload"]["identifier"]


def test_masked_dead_letters_name_nobody(tmp_path: Path) -> None:
    hook = journal(tmp_path, masked=True)
    hook.settled([(item(0), Rejected("refused", "ana@example.com (Ana) cannot be high"))])
    hook.close()
    letter = json.loads((tmp_path / "letters.jsonl").read_text())
    assert "*** (***) cannot be ***" == letter["answer"]
    assert (["email", "***"], "***", {"name": "***"}) == tuple(
        letter["payload"][name] for name in ("identifier", "value", "traits")
    )
    assert refusal(ANA, b"settings").hex() == letter["refused"]


def test_a_disk_that_refuses_stops_the_connection_and_nothing_more_is_written(tmp_path: Path) -> None:
    hook = journal(tmp_path / "gone")
    with pytest.raises(Stopped, match=r"gone/hook.jsonl: cannot be written: No such file"):
        hook.sent([0])
    (tmp_path / "gone").mkdir()
    with pytest.raises(Stopped, match="cannot be written"):
        hook.sent([0])
    hook.remember({"list": 1})
    hook.close()
    assert "cannot be written" in hook.failure
    assert [] == list((tmp_path / "gone").iterdir())


def test_what_is_appended_is_there_at_once(tmp_path: Path) -> None:
    file = Appended(tmp_path / "file")
    file.write(b"one\n", 1)
    assert b"one\n" == (tmp_path / "file").read_bytes()
    file.close()


def write(folder: Path, lines: list[dict[str, object]]) -> None:
    (folder / "hook.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
