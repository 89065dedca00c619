"""The page about events: what it shows can be read."""

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import get_args

from pipeline.columnar import CODECS
from pipeline.inputs import check_file
from schemas.events import AnyEvent
from transforms.logic.parse import Parser

PAGE = (Path(__file__).parents[1] / "docs" / "events.md").read_text("utf-8")
NOW = datetime(2026, 1, 6, tzinfo=UTC)


def test_the_examples_are_events_one_of_each_type() -> None:
    parser = Parser({"total_revenue": "trait", "big_spenders": "audience"}, NOW)
    examples = re.findall(r"^```json\n(.+)\n```$", PAGE, re.MULTILINE)
    assert list(get_args(AnyEvent)) == [type(parser.parse(example.encode())) for example in examples]
    assert not parser.unknown_fields


def test_the_names_of_files_that_it_tells_are_read(tmp_path: Path) -> None:
    [names] = re.findall(r"^\| JSON Lines \| (.+?), each", PAGE, re.MULTILINE)
    for extension in re.findall(r"`(\S+)`", names):
        path = tmp_path / f"e{extension}"
        path.write_bytes(b'{"type": "delete"}')
        assert "jsonl" == check_file(str(path))


def test_the_codecs_that_it_tells_are_read() -> None:
    assert f"codecs: {', '.join(CODECS)} |" in PAGE
