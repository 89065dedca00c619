"""The page about Segment's messages: its example is as the code has it, its commands are taken."""

import json
import re
import shlex
from pathlib import Path

from pipeline import cli
from transforms.logic.received import BATCHES, MAX_BODY, MAX_MESSAGE, SINGLE
from transforms.logic.segment import Known, events_of

PAGE = (Path(__file__).parents[1] / "docs" / "segment.md").read_text("utf-8")


def test_the_example_becomes_what_it_shows() -> None:
    message, events = re.findall(r"```json\n(.+?)```", PAGE, re.DOTALL)
    found = events_of(json.dumps(json.loads(message)).encode(), Known({}))
    assert [json.loads(line) for line in events.splitlines()] == [json.loads(each) for each in found]


def test_the_commands_are_taken() -> None:
    commands = re.findall(r"`(profilecast (?:run|serve) --.+?)`|^(profilecast serve .+)$", PAGE, re.MULTILINE)
    assert 3 == len([cli._parsed([*shlex.split(a or b)[1:], "--state", "s"]) for a, b in commands if "…" not in a + b])


def test_the_paths_and_the_limits_are_the_codes() -> None:
    assert {*SINGLE, *BATCHES} == set(re.findall(r"`/v1/(\w+)`", PAGE))
    assert f"more than {MAX_MESSAGE // 1024} KB" in PAGE
    assert f"more than {MAX_BODY // 1024} KB" in PAGE
