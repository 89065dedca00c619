"""The commands as they are typed: what they print, where, and their exit codes."""

import os
import re
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from pipeline.cli import COMMANDS, main
from pipeline.commands.check import report
from pipeline.commands.output import fitted_table, lasting, plain_table
from pipeline.first_workspace import Planned, first_workspace, planned
from pipeline.workspace import load, missing_secrets
from pipeline.workspace_words import strategies
from tests.pipeline.fakes import DESTINATIONS, Acme, Both, Lists
from transforms.destinations import catalogue
from transforms.destinations.contract import Destination

Capture = pytest.CaptureFixture[str]

WORKSPACE = """\
workspace: shop
computations:
  - {name: Big spenders, kind: audience}
  - {name: Total revenue 180 days, kind: trait}
  - {name: Plan, kind: trait}
connections:
  - name: acme-eu
    destination: acme
    settings: {endpoint: https://eu.acme.example, api_key: ${ACME_API_KEY}}
    cap: 50/s
    was: acme
    where: {marketing_consent: true}
    identifiers: {email: attach}
    syncs:
      - {computation: big_spenders, as: [identify, track], enrich: [first_name], send_as: vip, send_as_was: whales}
      - {computation: total_revenue_180_days, identifiers: {email: last}, historical: false}
  - name: lists
    destination: lists
    syncs:
      - {computation: big_spenders, resync_on_new_identifier: false}
      - {computation: big_spenders, name: dach, send_as: Spenders (DACH), where: {country: [DE, AT, CH], has: email}}
"""


def stand_in_or_slug(destination: type[Destination]) -> str:
    """A destination that is made later may have the name of a stand-in."""
    return f"stand-in {destination.slug}" if destination in DESTINATIONS.values() else destination.slug


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "workspace.yaml"
    path.write_text(WORKSPACE)
    return str(path)


class TestCommandLine:
    @pytest.mark.parametrize("command", sorted(COMMANDS.keys() - {"init", "destinations", "sandbox"}))
    def test_a_help_has_a_line_for_each_exit_code(
        self, command: str, capsys: Capture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("COLUMNS", "500")
        with pytest.raises(SystemExit):
            main([command, "--help"])
        _, _, told = capsys.readouterr().out.partition("exit codes:\n")
        codes = [re.match(r"  (\d)  \S", line) for line in told.splitlines()]
        assert ["0", "1"] == [code[1] if code else "" for code in codes][:2]
        assert all(codes)

    def test_without_a_command_it_prints_help(self, capsys: Capture) -> None:
        with pytest.raises(SystemExit) as exit_:
            main([])
        assert not exit_.value.code
        printed = capsys.readouterr().out
        for word in ("init", "check", "run", "destinations", "sandbox", "exit codes:"):
            assert word in printed

    @pytest.mark.parametrize(
        "arguments", [["chekc"], ["check", "--worspace", "x"], ["destinations", "a", "b", "c"], ["--verbose"]]
    )
    def test_wrong_usage_exits_with_1(self, arguments: list[str], capsys: Capture) -> None:
        with pytest.raises(SystemExit) as exit_:
            main(arguments)
        assert exit_.value.code == 1
        printed = capsys.readouterr()
        assert printed.err.startswith("profilecast")
        assert not printed.out

    def test_an_argument_too_many_is_answered_with_the_usage_of_the_command(self, capsys: Capture) -> None:
        with pytest.raises(SystemExit):
            main(["init", "braze"])
        printed = capsys.readouterr().err
        assert "unrecognized arguments: braze" in printed
        assert "--destination SLUG" in printed

    def test_options_of_beam_are_left_to_run(self, tmp_path: Path, capsys: Capture) -> None:
        paths = ["--workspace", str(tmp_path / "none.yaml"), "--state", str(tmp_path / "state")]
        assert main(["run", *paths, "--direct_num_workers", "2"]) == 1
        assert "there is no such file" in capsys.readouterr().err

    def test_version(self, capsys: Capture) -> None:
        with pytest.raises(SystemExit) as exit_:
            main(["--version"])
        assert not exit_.value.code
        assert capsys.readouterr().out.startswith("profilecast ")

    def test_only_run_loads_beam(self) -> None:
        script = (
            "import sys; from pipeline.cli import main; main(['destinations']);"
            "sys.exit(any(name.startswith(('apache_beam', 'aiohttp', 'pyarrow')) for name in sys.modules))"
        )
        assert subprocess.run([sys.executable, "-c", script], capture_output=True, check=False).returncode == 0

    def test_a_closed_pipe_is_no_error(self) -> None:
        reader, writer = os.pipe()
        os.close(reader)
        with os.fdopen(writer, "w") as pipe:
            done = subprocess.run(
                [sys.executable, "-m", "pipeline", "destinations"],
                stdout=pipe, stderr=subprocess.PIPE, text=True, check=False,
            )  # fmt: skip
        assert (0, "") == (done.returncode, done.stderr)


class TestInit:
    def test_it_writes_a_workspace_that_loads(self, tmp_path: Path, capsys: Capture) -> None:
        path = str(tmp_path / "workspace.yaml")
        assert main(["init", "--workspace", path]) == 0
        assert ["webhook"] == [c.name for c in load(path, environment={}).connections]
        steps = capsys.readouterr().out.splitlines()[1:4]
        assert ["  1. ", "  2. ", "  3. "] == [step[:5] for step in steps]

    def test_it_overwrites_nothing(self, file: str, capsys: Capture) -> None:
        assert main(["init", "--workspace", file]) == 1
        assert Path(file).read_text() == WORKSPACE
        assert "exists and was left as it is" in capsys.readouterr().err

    def test_a_folder_that_does_not_exist(self, tmp_path: Path, capsys: Capture) -> None:
        assert main(["init", "--workspace", str(tmp_path / "none" / "w.yaml")]) == 1
        assert "cannot be written: No such file or directory" in capsys.readouterr().err

    def test_an_unknown_destination_writes_nothing(self, tmp_path: Path, capsys: Capture) -> None:
        path = tmp_path / "workspace.yaml"
        assert main(["init", "--workspace", str(path), "--destination", "webhok"]) == 1
        assert not path.exists()
        assert "did you mean webhook?" in capsys.readouterr().err

    def test_secrets_are_named_for_the_shell(self, tmp_path: Path, capsys: Capture) -> None:
        main(["init", "--workspace", str(tmp_path / "w.yaml"), "--destination", "braze", "--destination", "braze"])
        assert "export BRAZE_API_KEY=... BRAZE_2_API_KEY=..." in capsys.readouterr().out

    @pytest.mark.parametrize("destination", [*catalogue().values(), Acme, Both, Lists], ids=stand_in_or_slug)
    def test_every_destination_can_be_begun_with(self, destination: type[Destination], tmp_path: Path) -> None:
        path = tmp_path / "workspace.yaml"
        connections = planned([destination, destination])
        path.write_text(first_workspace(connections))
        workspace = load(str(path), {destination.slug: destination}, {})
        assert [destination.slug, f"{destination.slug}-2"] == [c.name for c in workspace.connections]
        variables = [name for connection in connections for name in connection.variables()]
        assert len(variables) == len(missing_secrets(workspace, "", {}))
        assert not missing_secrets(workspace, "", dict.fromkeys(variables, "set"))

    @pytest.mark.parametrize("destination", [*catalogue().values(), Acme, Both, Lists], ids=stand_in_or_slug)
    def test_it_passes_the_check_as_it_is_and_with_every_option_of_a_sync(
        self, destination: type[Destination], tmp_path: Path, capsys: Capture
    ) -> None:
        path = tmp_path / "workspace.yaml"
        connections = planned([destination])
        environment = dict.fromkeys(connections[0].variables(), "set")
        text = first_workspace(connections)
        every_option = re.sub(r"^        # (?=\w+: )", "        ", text, flags=re.MULTILINE)
        assert every_option != text
        for written in (text, every_option):
            path.write_text(written)
            assert 0 == report(str(path), {destination.slug: destination}, environment)

    @pytest.mark.parametrize("slug", ["braze", "facebook-custom-audiences", "iterable", "zendesk"])
    def test_of_one_record_per_person_one_identifier_makes_it(self, slug: str, tmp_path: Path) -> None:
        path = tmp_path / "workspace.yaml"
        main(["init", "--workspace", str(path), "--destination", slug])
        destination = catalogue()[slug]
        text = path.read_text()
        assert f"# {destination.name} keeps one record per person" in text
        assert dict(destination.one_record) == load(str(path), environment={}).connections[0].identifiers

    def test_what_it_writes_for_one_record_holds_where_only_one_identifier_is_understood(
        self, tmp_path: Path, capsys: Capture
    ) -> None:
        path = tmp_path / "workspace.yaml"
        main(["init", "--workspace", str(path), "--destination", "iterable"])
        by_user_id = path.read_text().replace("# project: email", "project: user_id")
        path.write_text(by_user_id)
        assert "project: user_id" in by_user_id
        assert 0 == report(str(path), catalogue(), {"ITERABLE_API_KEY": "set"})

    def test_options_are_there_as_comments(self) -> None:
        text = first_workspace([Planned("one", Acme)])
        assert "      endpoint: https://eu.acme.example\n" in text
        assert "      # batch: 75\n" in text
        assert "      # second_key: ${ONE_SECOND_KEY}\n" in text
        assert "    # cap: 50/s    # without it the cap is 100/s\n" in text


class TestCheck:
    def test_the_summary(self, file: str, capsys: Capture) -> None:
        assert report(file, DESTINATIONS, {"ACME_API_KEY": "hunter2"}) == 0
        printed = capsys.readouterr().out
        assert "hunter2" not in printed
        assert """\
: workspace shop, 3 computations, 2 connections, 4 syncs

acme-eu: acme, at most 50/s of 100/s
  knows people by user_id, email
  requires name
  was called acme
  only if marketing_consent is true
  identifiers: email goes along
  - big_spenders (audience) as identify, track
      called vip there, before: whales
      with first_name
  - total_revenue_180_days (trait) as identify
      identifiers: only the last email
      no historical data

lists: no cap
  knows people by any identifier
  - big_spenders (audience) as list
      no historical data
      a new identifier waits for the next change
  - dach: big_spenders (audience) as list
      called Spenders (DACH) there
      only if country is DE or AT or CH, has email
      no historical data

Sent to no connection: plan

Plain traits (no computation is called so): country, first_name, marketing_consent

Before the first run, make these columns at Acme (acme-eu): vip, total_revenue_180_days

No mistakes. Every secret has a value.
""" == printed.removeprefix(file)

    def test_missing_variables_are_named(self, file: str, capsys: Capture) -> None:
        assert report(file, DESTINATIONS, {}) == 1
        assert (
            "Not ready to run yet:\n"
            "  acme-eu needs the environment variable ACME_API_KEY (connections[0].settings.api_key)\n"
        ) in capsys.readouterr().out

    def test_mistakes_go_to_stderr(self, tmp_path: Path, capsys: Capture) -> None:
        path = tmp_path / "workspace.yaml"
        path.write_text("workspace: shop\ncomputations: []\nconections: []\n")
        assert main(["check", "--workspace", str(path)]) == 1
        printed = capsys.readouterr()
        assert not printed.out
        assert f'{path}:3: conections: "conections" is not a known key' in printed.err

    @pytest.mark.parametrize(
        ("today", "said"),
        [
            ("2026-11-24", ""),
            (
                "2026-11-25",
                "v25.0 of Facebook Custom Audiences ends on 2027-02-23; set a newer api_version",
            ),
            (
                "2027-02-23",
                "v25.0 of Facebook Custom Audiences ended on 2027-02-23; set a newer api_version",
            ),
        ],
    )
    def test_the_end_of_a_version_is_said_90_days_ahead(
        self, today: str, said: str, file: str, capsys: Capture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("FB", "a-token")
        facebook = (
            "connections:\n  - name: facebook\n    destination: facebook-custom-audiences\n"
            '    settings: {ad_account_id: "7", access_token: "${FB}", api_version: v25.0}\n'
            "    syncs: [{computation: big_spenders}]\n"
        )
        Path(file).write_text(WORKSPACE.partition("connections:")[0] + facebook)
        assert 0 == main(["check", "--workspace", file, "--today", today])
        printed = capsys.readouterr().out
        assert said in printed
        assert bool(said) == ("version v25.0" in printed)

    def test_a_raised_cap_is_shown(self, file: str, capsys: Capture) -> None:
        Path(file).write_text(WORKSPACE.replace("50/s", "3000000/h\n    cap_raised_by_vendor: true"))
        report(file, DESTINATIONS, {})
        assert "3000000/h, raised from 100/s" in capsys.readouterr().out

    @pytest.mark.parametrize("of", ["events", "avro", "parquet"])
    def test_the_schemas_of_events(self, of: str, capsys: Capture) -> None:
        assert 0 == main(["check", "--schema", of])
        assert "external_ids" in capsys.readouterr().out

    def test_the_schema(self, capsys: Capture) -> None:
        assert main(["check", "--schema"]) == 0
        assert "profilecast workspace" == msgspec.json.decode(capsys.readouterr().out)["title"]


class TestDestinations:
    def test_all_are_listed(self, capsys: Capture) -> None:
        assert main(["destinations"]) == 0
        printed = capsys.readouterr().out
        for slug in catalogue():
            assert slug in printed

    @pytest.mark.parametrize("slug", [spelling for d in catalogue().values() for spelling in (d.slug, *d.aliases)])
    def test_one_tells_everything(self, slug: str, capsys: Capture) -> None:
        assert main(["destinations", slug]) == 0
        printed = capsys.readouterr().out
        destination = next(d for d in catalogue().values() if slug in (d.slug, *d.aliases))
        expected = [destination.page, *destination.identifiers, *destination.required]
        expected += [limit.source for limit in destination.limits]
        expected += [destination.api_version.name] if destination.api_version else []
        expected += [field.encode_name for field in msgspec.structs.fields(destination.Settings)]
        missing = [word for word in expected if word != "*" and word not in printed]
        assert not missing

    def test_an_unknown_one_is_corrected(self, capsys: Capture) -> None:
        assert main(["destinations", "Web Hook"]) == 1
        assert 'there is no destination "Web Hook"; did you mean webhook?' in capsys.readouterr().err


class TestTables:
    ROWS = (("one", "a word"), ("two hundred", "a long line of words that goes on"))

    def test_without_a_terminal_nothing_is_cut(self) -> None:
        assert (
            "  name         meaning\n  one          a word\n  two hundred  a long line of words that goes on"
        ) == plain_table(("name", "meaning"), self.ROWS)

    def test_on_a_terminal_it_fits(self) -> None:
        table = fitted_table(("name", "meaning"), self.ROWS, 24)
        lines = [line.replace("\x1b[1m", "").replace("\x1b[0m", "") for line in table.splitlines()]
        assert max(map(len, lines)) <= 24
        assert "…" not in table

    @pytest.mark.parametrize(
        ("seconds", "words"), [(3600.0, "1 h"), (21_600.0, "6 h"), (90.0, "90 s"), (86_400, "1 d")]
    )
    def test_spans_of_time(self, seconds: float, words: str) -> None:
        assert words == lasting(seconds)


def test_several_types_of_identifiers_stand_with_commas() -> None:
    attached = dict.fromkeys(("phone", "ios.idfa", "user_id"), "attach")
    told = strategies({"email": "last", **attached, "anonymous_id": "none"})  # type: ignore[dict-item]
    assert "only the last email; phone, ios.idfa and user_id go along; no anonymous_id" == told
