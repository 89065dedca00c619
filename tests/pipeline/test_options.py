"""Options that nobody knows: refused before anything is sent."""

from argparse import Namespace
from pathlib import Path

import pytest

from pipeline.cli import main
from pipeline.commands.engine_options import wrong_option
from tests.pipeline.conftest import Shop
from tests.pipeline.running import command, profile, vip

Capture = pytest.CaptureFixture[str]
ANA = (profile("ana", "2026-01-01T00:00:00Z"), vip("ana", "2026-01-01T00:00:00Z"))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--gatway", "http://127.0.0.1:1"), "--gatway: there is no such option; did you mean --gateway?"),
        (("--gatway=http://127.0.0.1:1",), "--gatway: there is no such option; did you mean --gateway?"),
        (("--stop-afer", "3m"), "--stop-afer: there is no such option; did you mean --stop-after?"),
        (("--max_rejected", "3"), "--max_rejected: there is no such option; did you mean --max-rejected?"),
        (("--dry-run",), "--dry-run: there is no such option; `profilecast plan` says what a run would do"),
        (("--dry_run=true",), "--dry_run: there is no such option; `profilecast plan` says what a run would do"),
        (("--zzz",), "--zzz: there is no such option"),
        (("-g", "x"), "-g: there is no such option"),
        (("--direct_num_workers",), "--direct_num_workers: expected one argument"),
        (("--direct_num_workers", "2", "word"), "word: this word belongs to no option"),
        (
            ("--runner", "Nonsense"),
            "--runner: 'Nonsense' is no runner of Beam; such are FnApiRunner, PrismRunner, FlinkRunner, PortableRunner",
        ),
    ],
)
def test_an_option_that_neither_we_nor_beam_know_is_refused(
    shop: Shop, capsys: Capture, options: tuple[str, ...], said: str
) -> None:
    assert 1 == shop.run(*ANA, more=options)
    assert f"profilecast run: {said}\n" == capsys.readouterr().err
    assert not shop.state.exists()
    assert [] == shop.receiver.messages


def test_an_option_of_beam_is_taken(shop: Shop) -> None:
    assert 0 == shop.run(*ANA, more=("--direct_num_workers=1",))


@pytest.mark.parametrize("option", ["--dryrun", "--dry_run=1", "--dry_run"])
def test_a_replay_does_not_begin_with_a_mistyped_option(shop: Shop, capsys: Capture, option: str) -> None:
    shop.receiver.answer = lambda host, message: 422
    shop.run(*ANA)
    sent = len(shop.receiver.messages)
    capsys.readouterr()
    assert 1 == shop.replay(option)
    told = f"{option.split('=')[0]}: there is no such option; did you mean --dry-run?"
    assert f"profilecast replay: {told}\n" == capsys.readouterr().err
    assert sent == len(shop.receiver.messages)


@pytest.mark.parametrize("option", ["--gatway", "--stop_after", "--dry-run", "--dry_run"])
def test_another_engine_may_have_its_own_options_but_none_like_ours(shop: Shop, capsys: Capture, option: str) -> None:
    more = ("--runner", "PrismRunner", "--option_of_that_engine", "3", option, "x")
    assert 1 == shop.run(*ANA, more=more)
    assert f"profilecast run: {option}: there is no such option" in capsys.readouterr().err
    assert not shop.state.exists()


@pytest.mark.parametrize(
    ("runner", "options"),
    [
        ("PrismRunner", ["--prism_location=prism"]),
        ("PortableRunner", ["--job_endpoint=localhost:8099", "--environment_type=LOOPBACK", "--parallelism=2"]),
        ("FlinkRunner", ["--option_of_that_engine", "3"]),
    ],
)
def test_options_of_another_engine_are_taken(runner: str, options: list[str]) -> None:
    assert "" == wrong_option(Namespace(runner=runner, gateway=None, stop_after=None, beam_arguments=options))


@pytest.mark.parametrize("runner", ["DataflowRunner", "SparkRunner"])
def test_an_engine_whose_machines_have_no_state_directory_is_refused_with_a_sentence(
    shop: Shop, capsys: Capture, runner: str
) -> None:
    assert 1 == shop.run(*ANA, more=("--runner", runner))
    said = capsys.readouterr().err
    assert f"--runner: {runner} runs a job on machines that do not have the state directory" in said
    assert 1 == len(said.splitlines())
    assert not shop.state.exists()


@pytest.mark.parametrize("gateway", ["127.0.0.1:8080", "", "ftp://x", "http://", "https:/x"])
def test_a_gateway_that_is_no_address_is_wrong_usage(shop: Shop, capsys: Capture, gateway: str) -> None:
    with pytest.raises(SystemExit) as raised:
        main(["run", *shop.common(), "--gateway", gateway])
    assert 1 == raised.value.code
    assert "is not an address such as http://127.0.0.1:8080" in capsys.readouterr().err


@pytest.mark.parametrize("below", ["", "state"])
def test_a_state_that_is_a_file_is_told_so(shop: Shop, capsys: Capture, below: str) -> None:
    file = shop.root / "file"
    file.touch()
    shop.state = file / below
    assert 3 == shop.run(*ANA)
    assert f"{file}: it is a file; --state needs a folder\n" == capsys.readouterr().err


def test_a_replay_says_nothing_of_what_beam_misses(shop: Shop) -> None:
    shop.run(*ANA)
    process = command("replay", *shop.common(), "--dry-run")
    assert ("No dead letter to try again.\n", "") == process.communicate(timeout=60)


def test_another_folder_among_the_runs_is_no_run(shop: Shop) -> None:
    shop.receiver.answer = lambda host, message: 422
    shop.run(*ANA)
    for name in ("backup", "20260101T000000Z.old"):
        other: Path = shop.state / "runs" / name
        other.mkdir()
        (other / "dead_letters.jsonl").write_text("no letter\n")
    shop.receiver.answer = lambda host, message: 200
    assert 0 == shop.replay()
    assert 4 == len(shop.receiver.messages)
