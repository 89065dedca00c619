"""`profilecast sandbox` as it is started and stopped."""

import argparse
import signal
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest
import requests

from sandbox.command import add_arguments

ROOT = Path(__file__).parents[2]
START = """
import argparse, sys
from sandbox.command import add_arguments, run
parser = argparse.ArgumentParser()
add_arguments(parser)
sys.exit(run(parser.parse_args()))
"""


@pytest.fixture
def start():
    """Start the command; whatever still runs at the end is killed."""
    with ExitStack() as started:

        def launch(*arguments):
            command = [sys.executable, "-c", START, *map(str, arguments)]
            pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
            process = started.enter_context(subprocess.Popen(command, cwd=ROOT, text=True, **pipes))
            started.callback(process.kill)
            return process

        yield launch


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_says_where_it_listens_and_ends_with_a_table(start, tmp_path, number):
    record = tmp_path / "requests.jsonl"
    process = start("--port", 0, "--cap", "webhook=1/m", "--ready-file", tmp_path / "url", "--record", record)
    url = process.stdout.readline().split()[-1]
    assert url == (tmp_path / "url").read_text().strip()
    assert url.startswith("http://127.0.0.1:")
    message = {"type": "identify", "userId": "ann@b.co", "traits": {}}
    for status in (200, 429):
        assert status == requests.post(f"{url}/hooks.acme.example/in", json=message, timeout=60).status_code
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert (0, "") == (process.returncode, err)
    assert "webhook" in out
    assert "1 people" in out
    assert "ann@b.co" not in out
    assert 2 == len(record.read_text().splitlines())


def test_a_port_that_is_taken_is_explained(start):
    port = start("--port", 0).stdout.readline().rsplit(":", 1)[-1].strip()
    second = start("--port", port)
    _, err = second.communicate(timeout=60)
    assert 1 == second.returncode
    assert f"port {port}" in err
    assert "--port 0" in err


@pytest.mark.parametrize("cap", ["braze", "braze=0/s", "nobody=1/s", "braze=1"])
def test_a_bad_cap_is_refused(cap, capsys):
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    with pytest.raises(SystemExit):
        parser.parse_args(["--cap", cap])
    assert "--cap" in capsys.readouterr().err


def test_a_recording_that_cannot_be_written_is_explained(start, tmp_path):
    process = start("--port", 0, "--record", tmp_path / "missing" / "file")
    _, err = process.communicate(timeout=60)
    assert 1 == process.returncode
    assert "cannot be written" in err
