"""`profilecast run` over an export of Segment's, as it lies in a bucket: gzip, no extension, several types."""

import gzip
import json
from pathlib import Path

from tests.pipeline.running import command, receiving, summary_of, workspace


def test_an_export_is_read_as_it_is(tmp_path: Path) -> None:
    personas = {"computation_class": "audience", "computation_key": "vip", "computation_id": "aud_1"}
    of = {"type": "identify", "timestamp": "2026-01-05T09:00:00.123456789Z", "context": {"personas": personas}}
    messages = [
        of | {"userId": "ana", "traits": {"vip": True, "email": "ana@x.example"}},
        of | {"userId": "ana", "traits": {"vip": True}},
        of | {"anonymousId": "a1", "traits": {"vip": True}},
        of | {"type": "page", "userId": "ana"},
    ]
    folder = tmp_path / "segment-logs" / "source" / "1767603600000"
    folder.mkdir(parents=True)
    lines = "".join(json.dumps(each) + "\n" for each in messages)
    (folder / "1767603600123.8a7b6c.1.2.3.gz").write_bytes(gzip.compress(lines.encode()))
    file = workspace(tmp_path / "workspace.yaml", "hook")
    with receiving() as receiver:
        options = ("--state", tmp_path / "state", "--new-state", "--gateway", receiver.url)
        events = tmp_path / "segment-logs" / "**" / "*.gz"
        run = command("run", "--workspace", file, *options, "--events", events)
        output, errors = run.communicate(timeout=120)
    assert 0 == run.returncode, output + errors
    told = {
        (message.get("userId"), message.get("anonymousId"), message["traits"].get("email"))
        for message in receiver.messages
        if message["type"] == "identify"
    }
    assert {("ana", None, None), (None, None, "ana@x.example"), (None, "a1", None)} == told
    read = summary_of(tmp_path / "state")["input"]
    assert (7, 1) == (read["read"], read["dead_letters"]), read
