"""Bad input, as the command meets it: every bad record is one dead letter, every bad file stops the run."""

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.cli import main
from schemas.dead_letters import BAD_RECORD
from schemas.formats import parquet_schema, to_record
from tests.pipeline.conftest import Shop
from tests.pipeline.running import dead_letters, profile, score, subjects, summary_of, vip, write_events
from transforms.logic.parse import MAX_LINE_BYTES

Capture = pytest.CaptureFixture[str]
AT = "2026-01-01T00:00:00Z"
NOW = "2026-01-08T00:00:00Z"


def trait(**other: Any) -> bytes:
    return json.dumps(score("ana", AT, 1) | other).encode()


# reason, field, the line
BAD = [
    ("broken_json", "", b'{"type": "trait", "profile_id": "ana"'),
    ("broken_json", "$", b"[1, 2]"),
    ("invalid_utf8", "", b'{"type": "trait", "profile_id": "\xff"}'),
    ("too_long", "", b'{"type": "trait", "value": "' + b"x" * 10_000_000 + b'"}'),
    ("missing_field", "$.value", json.dumps({**score("ana", AT, 1), "value": 1}).replace(', "value": 1', "").encode()),
    ("empty_id", "$.profile_id", trait(profile_id="")),
    ("empty_id", "$.external_ids[0].id", json.dumps(profile("", AT) | {"profile_id": "ana"}).encode()),
    ("misspelled_identifier_type", "$.external_ids[0].type", b'{"type":"profile","profile_id":"ana",'
     b'"at":"2026-01-01T00:00:00Z","external_ids":[{"type":"Email","id":"ana@x.io"}]}'),
    ("wrong_type", "$.profile_id", trait(profile_id=True)),
    ("wrong_type", "$.member", json.dumps(vip("ana", AT) | {"member": "yes"}).encode()),
    ("unknown_event_type", "$.type", trait(type="treat")),
    ("unknown_message", "$.type", b'{"type": "page", "userId": "ana", "timestamp": "2026-01-01T00:00:00Z"}'),
    ("unknown_computation", "$.computation", trait(computation="scor")),
    ("wrong_computation_kind", "$.type", trait(computation="vip")),
    ("wrong_subject", "$.account_id", trait(account_id="acme")),
    ("time_without_zone", "$.at", trait(at="2026-01-01T00:00:00")),
    ("absurd_time", "$.at", trait(at="2026-01-15T00:00:00Z")),
    ("absurd_time", "$.at", trait(at="1969-12-31T00:00:00Z")),
    ("unsupported_value", "$.value", b'{"type":"trait","profile_id":"a","at":"2026-01-01T00:00:00Z",'
     b'"computation":"score","value":NaN}'),
]  # fmt: skip


def test_every_bad_record_is_one_dead_letter_and_the_run_goes_on(shop: Shop, capsys: Capture) -> None:
    good = [json.dumps(event).encode() for event in (profile("ana", "1997-01-01T00:00:00Z"), score("ana", AT, 1))]
    lines = [good[0], *(line for _, _, line in BAD), b"", good[1]]
    path = shop.root / "events.jsonl"
    path.write_bytes(b"\n".join(lines) + b"\n")
    assert 0 == shop.run(files=(path,), more=("--now", NOW))
    assert f"Read {len(BAD) + 2} events: 2 said something new, 0 did not, {len(BAD)} could not be used." in (
        capsys.readouterr().out
    )
    letters = sorted(dead_letters(shop.state), key=lambda letter: letter["line"])
    assert [(reason, field, number) for number, (reason, field, _) in enumerate(BAD, 2)] == [
        (letter["reason"], letter.get("field", ""), letter["line"]) for letter in letters
    ]
    assert set(BAD_RECORD) == {letter["reason"] for letter in letters}
    for letter, (_, _, line) in zip(letters, BAD, strict=True):
        assert ("Parse", str(path)) == (letter["step"], letter["source"])
        assert letter["expected"]
        assert letter["advice"]
        assert line[:65536].decode("utf-8", "backslashreplace") == letter["payload"]
        assert (len(line) > 65536) == letter.get("cut", False)
    assert [{"score": 1}] == [message["traits"] for message in shop.receiver.messages]
    assert [] == summary_of(shop.state)["mistakes"]
    assert MAX_LINE_BYTES < 10_000_000


def test_a_record_of_parquet_is_named_by_its_number(shop: Shop) -> None:
    path = shop.root / "events"  # the content says what it is
    rows = [to_record(line) for line in (trait(), trait(computation="scor"))]
    pq.write_table(pa.Table.from_pylist(rows, schema=parquet_schema()), path)
    assert 0 == shop.run(files=(path,))
    [letter] = dead_letters(shop.state)
    assert ("unknown_computation", 1, str(path)) == (letter["reason"], letter["record"], letter["source"])
    assert "line" not in letter


def cut_gzip(path: Path) -> None:
    whole = gzip.compress(b"".join(trait(value=n) + b"\n" for n in range(2000)))
    path.with_suffix(".jsonl.gz").write_bytes(whole[: len(whole) // 2])


def cut_parquet(path: Path) -> None:
    pq.write_table(pa.table({"type": ["trait"]}), path.with_suffix(".parquet"))
    whole = path.with_suffix(".parquet").read_bytes()
    path.with_suffix(".parquet").write_bytes(whole[:-10])


def parquet_without_a_column(path: Path) -> None:
    pq.write_table(pa.table({"type": ["trait"], "profile_id": ["ana"]}), path.with_suffix(".parquet"))


def parquet_called_jsonl(path: Path) -> None:
    parquet_without_a_column(path)
    path.with_suffix(".parquet").rename(path.with_suffix(".jsonl"))


def garbage(path: Path) -> None:
    path.with_suffix(".avro").write_bytes(b"\x00\x01\x02")


@pytest.mark.parametrize("spoil", [cut_gzip, cut_parquet, parquet_without_a_column, parquet_called_jsonl, garbage])
def test_a_bad_file_stops_the_run_before_anything_is_sent(shop: Shop, capsys: Capture, spoil: Any) -> None:
    shop.run(profile("ana", AT), score("ana", AT, 0))
    before = subjects(shop.state)
    shop.receiver.messages.clear()
    spoil(shop.root / "bad")
    [path] = shop.root.glob("bad*")
    capsys.readouterr()
    assert 3 == shop.run(score("ana", "2026-01-02T00:00:00Z", 1), files=(path,))
    printed = capsys.readouterr()
    assert printed.err.startswith(f"{path}: ")
    assert "Traceback" not in printed.err
    assert [] == shop.receiver.messages
    assert before == subjects(shop.state)


def test_a_pattern_without_a_file_stops_nothing(shop: Shop) -> None:
    assert 0 == shop.run(profile("ana", AT), score("ana", AT, 0), files=(shop.root / "none-*.jsonl",))
    assert [{"score": 0}] == [message["traits"] for message in shop.receiver.messages]


def test_a_file_that_is_not_there_is_named(shop: Shop, capsys: Capture) -> None:
    assert 3 == shop.run(files=(shop.root / "none.jsonl",))
    assert f"{shop.root}/none.jsonl: there is no such file" in capsys.readouterr().err
    assert not shop.state.exists()


def test_what_other_programs_leave_beside_events_stops_nothing(shop: Shop) -> None:
    folder = shop.root / "events"
    folder.mkdir()
    for name in ("_SUCCESS", ".DS_Store", ".part-0000.json.crc", ".part-0000.json.swp"):
        (folder / name).write_bytes(b"\x00\x01")
    (folder / "part-0001.json.gz").write_bytes(b"")
    write_events(folder / "part-0000.json", profile("ana", AT), score("ana", AT, 0))
    assert 0 == shop.run(files=(folder / "*",))
    assert [{"score": 0}] == [message["traits"] for message in shop.receiver.messages]


def test_all_mistakes_of_a_workspace_are_told_at_once(shop: Shop, capsys: Capture) -> None:
    text = (
        shop.workspace.read_text()
        .replace("kind: trait", "kind: triat")
        .replace("destination: webhook", "destination: x")
    )
    shop.workspace.write_text(text)
    assert 1 == shop.run(score("ana", AT, 1))
    errors = capsys.readouterr().err
    assert f"2 mistakes in {shop.workspace}:" in errors
    assert '"triat"' in errors
    assert f"{shop.workspace}:7: connections[0].destination" in errors
    assert not shop.state.exists()


def test_a_missing_variable_is_named(shop: Shop, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOOK_SECRET", raising=False)
    text = shop.workspace.read_text().replace('example/in"', 'example/in", shared_secret: "${HOOK_SECRET}"')
    shop.workspace.write_text(text)
    assert 1 == shop.run(score("ana", AT, 1))
    assert "hook needs the environment variable HOOK_SECRET" in capsys.readouterr().err
    assert not shop.state.exists()


def test_a_workspace_that_is_not_there_is_named(
    capsys: Capture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert 1 == main(["run", "--state", str(tmp_path / "state")])
    assert "workspace.yaml: there is no such file" in capsys.readouterr().err


BOB_TYPE = {"type": "what", "profile_id": "bob", "at": AT, "traits": {"name": "Bob Miller"}}


class TestTooMany:
    def test_a_run_says_for_each_reason_how_many_and_gives_one_example(self, shop: Shop, capsys: Capture) -> None:
        bad = [{**BOB_TYPE, "profile_id": f"b{n}"} for n in range(3)]
        assert 0 == shop.run(profile("ana", AT), score("ana", AT, 0), *bad, {**score("ana", AT, 1), "computation": "x"})
        lines = capsys.readouterr().out.splitlines()
        [first] = [line for line in lines if "unknown_event_type" in line]
        assert first.startswith("  3 unknown_event_type: $.type; expected one of ")
        assert f"for example {shop.root}/events-1.jsonl line 3." in first
        assert 1 == sum("1 unknown_computation: $.computation" in line for line in lines)
        assert not [line for line in lines if "Bob" in line]

    @pytest.mark.parametrize(("limit", "code"), [("1", 2), ("2", 0), ("10%", 2), ("90%", 0)])
    def test_more_unusable_records_than_the_limit_exit_with_2(
        self, shop: Shop, capsys: Capture, limit: str, code: int
    ) -> None:
        events = (profile("ana", AT), score("ana", AT, 0), BOB_TYPE, BOB_TYPE)
        assert code == shop.run(*events, more=("--max-bad", limit))
        assert 1 == len(shop.receiver.messages)
        assert bool(code) == ("2 of 4 records could not be used" in capsys.readouterr().err)

    def test_a_file_in_which_nothing_can_be_used_exits_with_2_whatever_the_limit(
        self, shop: Shop, capsys: Capture
    ) -> None:
        other = write_events(shop.root / "other.jsonl", BOB_TYPE)
        assert 2 == shop.run(profile("ana", AT), score("ana", AT, 0), files=(other,), more=("--max-bad", "9"))
        assert f"{other}: none of the records could be used." in capsys.readouterr().err
        assert 1 == len(shop.receiver.messages)
