"""The workspace file: what it means when it is right, and what is said of every mistake."""

from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from pipeline.problems import Problem, WorkspaceError
from pipeline.workspace import load, missing_secrets, with_lines
from schemas.secret import Secret
from schemas.workspace import Cap, EventNames, Workspace
from tests.pipeline.fakes import DESTINATIONS, Acme, Lists

HEAD = """\
workspace: shop
computations:
  - {name: Big spenders, kind: audience}
  - {name: Total revenue 180 days, kind: trait}
connections:
"""

GOOD = (
    HEAD
    + """\
  - name: acme-eu
    destination: acme-classic
    settings:
      endpoint: https://${REGION}.acme.example
      api_key: ${ACME_API_KEY}
      account: 0042
      batch: ${BATCH}
      region: eu
    cap: 600/m
    syncs:
      - {computation: big_spenders, as: [identify, track], events: {entered: Joined}, enrich: plan}
      - {computation: Total revenue 180 days, as: track, identifiers: {email: last}}
  - name: lists
    destination: lists
    syncs:
      - computation: Big spenders
"""
)
ENVIRONMENT = {"REGION": "eu", "BATCH": "10"}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "workspace.yaml"


def loaded(file: Path, text: str) -> Workspace:
    file.write_text(text, encoding="utf-8")
    return load(str(file), DESTINATIONS, ENVIRONMENT)


def problems(file: Path, text: str) -> list[Problem]:
    with pytest.raises(WorkspaceError) as raised:
        loaded(file, text)
    return raised.value.problems


def connection(file: Path, text: str) -> list[Problem]:
    """Of a connection to Acme that has this beside its name and destination."""
    return problems(file, f"{HEAD}  - name: acme\n    destination: acme\n{text}")


def sync(file: Path, text: str, destination: str = "acme") -> list[Problem]:
    settings = "{endpoint: https://a.example, api_key: ${A}}" if destination == "acme" else "{}"
    entry = f"  - {{name: one, destination: {destination}, settings: {settings}, syncs: [{text}]}}\n"
    return problems(file, HEAD + entry)


def with_sync(destination: str, text: str) -> str:
    """A connection without settings that has these syncs."""
    return f"{HEAD}  - {{name: one, destination: {destination}, syncs: [{text}]}}\n"


def where(file: Path, text: str) -> Any:
    """The conditions of a sync."""
    return (
        loaded(file, with_sync("lists", f"{{computation: big_spenders, where: {text}}}")).connections[0].syncs[0].where
    )


class TestMeaning:
    def test_keys_and_ids_are_filled_in(self, file: Path) -> None:
        computations = loaded(file, GOOD).computations
        assert ["big_spenders", "total_revenue_180_days"] == [c.key for c in computations]
        assert ["07740d776e1b4393f1fac5f2", "e9a80de8241211aab6e46a75"] == [c.id for c in computations]

    def test_an_id_depends_on_workspace_and_key_alone(self, file: Path) -> None:
        before = loaded(file, GOOD).computations
        renamed = loaded(file, GOOD.replace("{name: Big spenders,", "{name: Whales, key: big_spenders, ")
                         .replace("computation: Big spenders", "computation: Whales")).computations  # fmt: skip
        elsewhere = loaded(file, GOOD.replace("workspace: shop", "workspace: other")).computations
        assert before[0].id == renamed[0].id
        assert before[0].id != elsewhere[0].id

    def test_settings_become_the_destinations_own_type(self, file: Path) -> None:
        settings = loaded(file, GOOD).connections[0].settings
        assert (
            Acme.Settings(
                endpoint="https://eu.acme.example",
                api_key=Secret("${ACME_API_KEY}"),
                account="0042",
                batch=10,
                region="eu",
            )
            == settings
        )

    def test_absent_settings_are_the_defaults(self, file: Path) -> None:
        assert Lists.Settings() == loaded(file, GOOD).connections[1].settings

    def test_an_alias_becomes_the_slug(self, file: Path) -> None:
        assert loaded(file, GOOD).connections[0].destination == "acme"

    def test_syncs_refer_by_key_or_name(self, file: Path) -> None:
        assert ["big_spenders", "total_revenue_180_days"] == [
            s.computation for s in loaded(file, GOOD).connections[0].syncs
        ]

    def test_options_of_a_sync(self, file: Path) -> None:
        first, second = loaded(file, GOOD).connections[0].syncs
        assert ("identify", "track") == first.forms
        assert ("track",) == second.forms
        assert EventNames(entered="Joined") == first.events
        assert ("plan",) == first.enrich
        assert {"email": "last"} == second.identifiers

    def test_a_destination_without_history_gets_none(self, file: Path) -> None:
        acme, lists = loaded(file, GOOD).connections
        assert acme.syncs[0].historical
        assert not lists.syncs[0].historical

    @pytest.mark.parametrize(
        ("written", "cap"),
        [
            ("50/s", Cap(50, 1)),
            ("600/m", Cap(600, 60)),
            ("1000/h", Cap(1000, 3600)),
            ("500000/d", Cap(500_000, 86_400)),
            ("0.5 / s", Cap(0.5, 1)),
            ("100/s", Cap(100, 1)),
            ("6000/m", Cap(6000, 60)),
        ],
    )
    def test_caps(self, file: Path, written: str, cap: Cap) -> None:
        assert cap == loaded(file, GOOD.replace("600/m", written)).connections[0].cap

    def test_a_cap_may_be_higher_when_the_vendor_agreed(self, file: Path) -> None:
        text = GOOD.replace("600/m", "200/s\n    cap_raised_by_vendor: yes")
        assert Cap(200) == loaded(file, text).connections[0].cap

    def test_settings_may_add_an_identifier(self, file: Path) -> None:
        text = GOOD.replace("region: eu", "phone_column: tel").replace("{email: last}", "{phone: first}")
        assert {"phone": "first"} == loaded(file, text).connections[0].syncs[1].identifiers

    def test_a_sync_is_complete(self, file: Path) -> None:
        first, second = loaded(file, GOOD).connections[0].syncs
        (third,) = loaded(file, GOOD).connections[1].syncs
        assert ("big_spenders", "big_spenders") == (first.name, first.send_as)
        assert ("total_revenue_180_days", "total_revenue_180_days") == (second.name, second.send_as)
        assert ("list",) == third.forms

    def test_the_form_of_a_sync_is_by_default_the_first_that_fits(self, file: Path) -> None:
        both = with_sync("both", "{computation: big_spenders}, {computation: total_revenue_180_days}")
        assert [("list",), ("identify",)] == [sync.forms for sync in loaded(file, both).connections[0].syncs]

    def test_a_computation_may_have_several_syncs(self, file: Path) -> None:
        text = with_sync(
            "both",
            "{computation: big_spenders, where: {country: DE}, send_as: Spender (DE)},"
            " {computation: big_spenders, name: spenders-at, where: {country: AT}, send_as: Spender (AT)},"
            " {computation: big_spenders, name: as_property, as: [identify, track]}",
        )
        syncs = loaded(file, text).connections[0].syncs
        assert [
            ("big_spenders", ("list",), "Spender (DE)", {"country": "DE"}),
            ("spenders-at", ("list",), "Spender (AT)", {"country": "AT"}),
            ("as_property", ("identify", "track"), "big_spenders", {}),
        ] == [(sync.name, sync.forms, sync.send_as, sync.where) for sync in syncs]

    def test_a_sync_goes_before_its_connection(self, file: Path) -> None:
        text = GOOD.replace("    cap: 600/m", "    identifiers: {email: attach, user_id: first}")
        connection = loaded(file, text).connections[0]
        assert {"email": "attach", "user_id": "first"} == connection.identifiers
        assert [{"email": "attach", "user_id": "first"}, {"email": "last", "user_id": "first"}] == [
            sync.identifiers for sync in connection.syncs
        ]

    def test_enrichment_may_be_a_computation(self, file: Path) -> None:
        text = GOOD.replace("enrich: plan", "enrich: [plan, Total revenue 180 days]")
        assert ("plan", "total_revenue_180_days") == loaded(file, text).connections[0].syncs[0].enrich

    def test_a_connection_may_have_had_another_name(self, file: Path) -> None:
        assert "acme" == loaded(file, GOOD.replace("    cap: 600/m", "    was: acme")).connections[0].was

    def test_letters_have_one_spelling(self, file: Path) -> None:
        composed, decomposed = "Caf\u00e9", "Cafe\u0301"
        text = dedent(f"""\
            workspace: shop
            computations: [{{name: {decomposed}, kind: audience}}]
            connections:
              - name: a
                destination: lists
                identifiers: {{{decomposed}: last}}
                syncs: [{{computation: {composed}}}]
        """)
        workspace = loaded(file, text)
        assert composed == workspace.computations[0].name
        assert {composed: "last"} == workspace.connections[0].identifiers

    @pytest.mark.parametrize("key", ["größe", "हिन्दी_ग्राहक", "購入者_30日"])
    def test_keys_of_other_scripts(self, file: Path, key: str) -> None:
        text = f"{{workspace: a, computations: [{{name: A, kind: trait, key: {key}}}], connections: []}}"
        assert key == loaded(file, text).computations[0].key

    def test_a_byte_order_mark_is_no_mistake(self, file: Path) -> None:
        assert loaded(file, "\ufeff" + GOOD).workspace == "shop"

    def test_there_may_be_nothing_in_it_yet(self, file: Path) -> None:
        assert Workspace("shop", (), ()) == loaded(file, "{workspace: shop, computations: [], connections: []}")


class TestWhere:
    @pytest.mark.parametrize(
        ("written", "meant"),
        [
            ("{}", {}),
            ("{country: DE}", {"country": "DE"}),
            ("{country: [DE, AT]}", {"country": ["DE", "AT"]}),
            ("{country: {not: DE}}", {"country": {"not": "DE"}}),
            ("{country: {not: [DE, AT]}}", {"country": {"not": ["DE", "AT"]}}),
            ("{consent: true, other: False}", {"consent": True, "other": False}),
            ("{consent: 'true'}", {"consent": "true"}),
            ("{visits: 3, score: 2.5, far: 1e3, low: -1}", {"visits": 3, "score": 2.5, "far": 1000.0, "low": -1}),
            ("{plan: null, other: ~}", {"plan": None, "other": None}),
            ("{since: 2026-01-01}", {"since": "2026-01-01"}),
            ("{code: '0042'}", {"code": "0042"}),
            ("{has: email}", {"has": ["email"]}),
            ("{has: [email, crm.id]}", {"has": ["email", "crm.id"]}),
            ("{Total revenue 180 days: 7}", {"total_revenue_180_days": 7}),
            ("{not: free}", {"not": "free"}),
            ("{Big spenders: true}", {"big_spenders": True}),
            ("{big_spenders: false}", {"big_spenders": {"not": True}}),
            ("{big_spenders: {not: true}}", {"big_spenders": {"not": True}}),
            ("{big_spenders: {not: false}}", {"big_spenders": True}),
        ],
    )
    def test_what_is_written_is_meant_as_json(self, file: Path, written: str, meant: dict[str, Any]) -> None:
        assert meant == where(file, written)

    @pytest.mark.parametrize(
        ("written", "field", "words"),
        [
            ("{country: NO}", "where.country", 'write false, or "NO"'),
            ("{country: [DE, NO]}", "where.country[1]", 'write false, or "NO"'),
            ("{consent: yes}", "where.consent", 'write true, or "yes"'),
            ("{code: 0042}", "where.code", "could be a number or text"),
            ("{code: 1_000}", "where.code", "could be a number or text"),
            ("{code: .inf}", "where.code", "could be a number or text"),
            ("{code: 99999999999999999999}", "where.code", "at most 64 bits"),
            ("{code: 1e999}", "where.code", "at most 64 bits"),
            ("{plan: }", "where.plan", "has no value"),
            ("{plan: []}", "where.plan", "is an empty list"),
            ("{plan: [[free]]}", "where.plan[0]", "expected a single value, got a list"),
            ("{plan: {is: free}}", "where.plan", "`{not: …}`"),
            ("{plan: {not: free, or: paid}}", "where.plan", "`{not: …}`"),
            ("{plan: {not: {not: free}}}", "where.plan.not", "expected a value or a list of values"),
            ("{not: {plan: free}}", "where.not", "belongs to the value"),
            ("{has: []}", "where.has", "is an empty list"),
            ("{has: Email}", "where.has", "is not how this type is written"),
            ("{has: {not: email}}", "where.has", "expected a list"),
            ("{Big spenders: true, big_spenders: true}", "where.big_spenders", "is given twice"),
            ("{big_spenders: very}", "where.big_spenders", "is about an audience"),
            ("[country]", "where", "expected `key: value` entries"),
            ("", "where", "expected `key: value` entries"),
        ],
    )
    def test_mistakes(self, file: Path, written: str, field: str, words: str) -> None:
        (problem,) = sync(file, f"{{computation: big_spenders, where: {written}}}")
        assert f"connections[0].syncs[0].{field}" == problem.field
        assert words in problem.message
        assert 6 == problem.line

    def test_a_connection_has_one_too(self, file: Path) -> None:
        text = GOOD.replace("    cap: 600/m", "    where: {marketing_consent: true}")
        connection = loaded(file, text).connections[0]
        assert {"marketing_consent": True} == connection.where
        assert {} == connection.syncs[0].where


class TestSecrets:
    def test_missing_variables_are_named(self, file: Path) -> None:
        workspace = loaded(file, GOOD)
        (problem,) = missing_secrets(workspace, "w.yaml", {"OTHER": "x", "ACME_API_KEY": ""})
        assert "w.yaml: connections[0].settings.api_key: acme-eu needs the environment variable ACME_API_KEY" == str(
            problem
        )

    def test_nothing_is_missing_when_they_are_set(self, file: Path) -> None:
        assert [] == missing_secrets(loaded(file, GOOD), "w.yaml", {"ACME_API_KEY": "s3cret"})

    def test_secrets_inside_maps_are_found(self, file: Path) -> None:
        text = f"{HEAD}  - {{name: l, destination: lists, settings: {{headers: {{auth: ${{TOKEN}}}}}}, syncs: []}}\n"
        (problem,) = missing_secrets(loaded(file, text), "w.yaml", {})
        assert problem.field == "connections[0].settings.headers.auth"

    @pytest.mark.parametrize("written", ["hunter2", "$hunter2", "${hunter2", "${hunter2 }", "Bearer ${hunter2}"])
    def test_a_secret_in_the_file_is_a_mistake_that_does_not_show_it(self, file: Path, written: str) -> None:
        text = f'    settings:\n      endpoint: https://a.example\n      api_key: "{written}"\n    syncs: []\n'
        (problem,) = connection(file, text)
        assert (10, "connections[0].settings.api_key", None) == (problem.line, problem.field, problem.value)
        assert "hunter2" not in str(problem)
        assert "${API_KEY}" in problem.message

    def test_a_secret_under_a_misspelt_key_is_not_shown(self, file: Path) -> None:
        (problem,) = connection(file, "    settings: {endpoint: https://a.example, api_kye: hunter2}\n    syncs: []\n")
        assert "api_key" == problem.suggestion
        assert "hunter2" not in str(problem)

    @pytest.mark.parametrize("settings", ["hunter2", "[hunter2]"])
    def test_settings_of_another_form_are_not_shown(self, file: Path, settings: str) -> None:
        (problem,) = connection(file, f"    settings: {settings}\n    syncs: []\n")
        assert "hunter2" not in str(problem)

    def test_a_plain_setting_from_the_environment_does_not_show_its_value(self, file: Path) -> None:
        text = "    settings: {endpoint: https://a.example, api_key: ${A}, batch: ${REGION}}\n    syncs: []\n"
        (problem,) = connection(file, text)
        assert '"${REGION}" should be a whole number' in str(problem)
        assert '"eu"' not in str(problem)

    def test_a_plain_setting_whose_variable_is_missing_names_it(self, file: Path) -> None:
        text = "    settings: {endpoint: 'https://${HOST}', api_key: ${A}}\n    syncs: []\n"
        (problem,) = connection(file, text)
        assert (8, "connections[0].settings.endpoint") == (problem.line, problem.field)
        assert "the environment variable HOST is not set" == problem.message


class TestMistakes:
    def test_all_are_told_at_once_in_order_of_line(self, file: Path) -> None:
        text = dedent("""\
            workspce: shop
            computations:
              - {name: Big spenders, kind: audiense}
            connections:
              - name: Acme EU
                destination: acne
                cap: fast
                syncs:
                  - {computation: big_spenders, as: [identfy]}
        """)
        found = problems(file, text)
        assert [
            (1, "workspce", "workspace"),
            (3, "computations[0].kind", "audience"),
            (5, "connections[0].name", "acme-eu"),
            (6, "connections[0].destination", "acme"),
            (7, "connections[0].cap", ""),
            (9, "connections[0].syncs[0].as[0]", "identify"),
        ] == [(p.line, p.field, p.suggestion) for p in found]

    def test_a_computation_with_a_mistake_hides_no_other(self, file: Path) -> None:
        text = dedent("""\
            workspace: shop
            computations:
              - {name: Big spenders, kind: audiense}
            connections:
              - name: acme
                destination: acme
                settings: {api_key: "${A}"}
                syncs:
                  - {computation: big_spenders}
                  - {computation: nope}
        """)
        fields = [problem.field for problem in problems(file, text)]
        assert "connections[0].syncs[1].computation" in fields
        assert "connections[0].syncs[0].computation" not in fields

    def test_a_secret_without_a_value_has_its_line(self, file: Path) -> None:
        (problem,) = with_lines(missing_secrets(loaded(file, GOOD), str(file), {}), str(file))
        assert "      api_key: ${ACME_API_KEY}" == GOOD.splitlines()[(problem.line or 0) - 1]

    def test_a_computation_with_a_mistake_is_suggested_too(self, file: Path) -> None:
        wrong, typo = problems(
            file,
            "workspace: a\ncomputations:\n  - {name: Vip, kind: audience}\n  - {name: Score, kind: trate}\n"
            "connections:\n  - {name: hook, destination: lists, syncs: [{computation: scor}]}\n",
        )
        assert ("computations[1].kind", "trait") == (wrong.field, wrong.suggestion)
        assert ("score", ("vip", "score")) == (typo.suggestion.lower(), typo.allowed)

    def test_without_its_list_of_computations_no_sync_is_at_fault(self, file: Path) -> None:
        text = HEAD.replace("computations:", "computation:")
        found = problems(file, text + "  - {name: hook, destination: lists, syncs: [{computation: big_spenders}]}\n")
        assert [("computation", "computations")] == [(each.field, each.suggestion) for each in found]

    def test_a_key_that_is_misspelt_beside_the_right_one(self, file: Path) -> None:
        (problem,) = problems(file, "workspace: a\ncomputations: []\ncomputation: []\nconnections: []\n")
        assert "is not a known key; computations is given in line 2" == problem.message

    def test_the_words_of_one(self, file: Path) -> None:
        (problem,) = sync(file, "{computation: big_spendrs}")
        assert (
            f'{file}:6: connections[0].syncs[0].computation: "big_spendrs" is not a computation of this workspace; '
            'did you mean "big_spenders"? Allowed: big_spenders, total_revenue_180_days'
        ) == str(problem)

    def test_the_error_lists_them(self, file: Path) -> None:
        error = WorkspaceError("w.yaml", problems(file, "workspace: a\nconnections: []\nx: 1\n"))
        assert "2 mistakes in w.yaml:" == str(error).splitlines()[0]
        assert 3 == len(str(error).splitlines())

    @pytest.mark.parametrize(
        ("text", "line", "words"),
        [
            ("workspace: [a\nb: c\n", 2, "at column 2"),
            ("workspace: a\n\tcomputations: []\n", 2, "at column 1"),
            ("a: *b\n", 1, "at column 4"),
            ("a: b\n---\nc: d\n", 2, "another document"),
            ("a: b\nc: \x07\n", 2, "U+0007"),
            ("", None, "the file is empty"),
            ("# nothing\n", None, "the file is empty"),
            ("- a\n", 1, "expected `key: value` entries, got a list"),
            ("hello\n", 1, "expected `key: value` entries, got a single value"),
        ],
    )
    def test_what_is_no_yaml_or_no_workspace(self, file: Path, text: str, line: int | None, words: str) -> None:
        (problem,) = problems(file, text)
        assert line == problem.line
        assert words in problem.message

    def test_a_file_that_is_not_utf_8(self, file: Path) -> None:
        file.write_bytes(b"workspace: shop\n# caf\xe9\n")
        with pytest.raises(WorkspaceError, match=":2: the text is not UTF-8"):
            load(str(file), DESTINATIONS, {})

    def test_a_file_that_does_not_exist(self, tmp_path: Path) -> None:
        with pytest.raises(WorkspaceError, match="no such file; `profilecast init`"):
            load(str(tmp_path / "none.yaml"), DESTINATIONS, {})

    def test_a_list_that_contains_itself_ends(self, file: Path) -> None:
        assert problems(file, "workspace: &a [*a]\ncomputations: *a\nconnections: *a\n")

    def test_duplicate_keys(self, file: Path) -> None:
        (problem,) = problems(file, "workspace: a\ncomputations: []\nconnections: []\nworkspace: b\n")
        assert (4, "workspace", "is given twice; the first is in line 1") == (
            problem.line,
            problem.field,
            problem.message,
        )

    def test_keys_missing(self, file: Path) -> None:
        fields = [p.field for p in problems(file, "computations: [{name: A}]\nconnections: [{}]\n")]
        assert [
            "workspace",
            "computations[0].kind",
            "connections[0].name",
            "connections[0].destination",
            "connections[0].syncs",
        ] == fields

    def test_required_settings_missing(self, file: Path) -> None:
        found = connection(file, "    syncs: []\n")
        assert ["connections[0].settings.endpoint", "connections[0].settings.api_key"] == [p.field for p in found]

    @pytest.mark.parametrize("empty", ["workspace:", "workspace: ''", "workspace: ~"])
    def test_text_that_is_empty(self, file: Path, empty: str) -> None:
        (problem,) = problems(file, f"{empty}\ncomputations: []\nconnections: []\n")
        assert (1, "workspace") == (problem.line, problem.field)

    @pytest.mark.parametrize(
        ("computations", "field", "words"),
        [
            ("[{name: A b, kind: trait}, {name: A b, kind: trait}]", "[1].name", "is given twice"),
            ("[{name: A b, kind: trait}, {name: aB, kind: trait}]", "[1].name", "is given twice"),
            ("[{name: A, kind: trait, id: x}, {name: B, kind: trait, id: x}]", "[1].id", "is given twice"),
            ("[{name: '???', kind: trait}]", "[0].name", "no letter or digit"),
            ("[{name: A, kind: trait, key: a-b}]", "[0].key", "only letters, digits"),
            ("[{name: Audience key, kind: trait}]", "[0].name", "'audience_key', and calls use that name"),
            ("[{name: A, kind: trait, key: email}]", "[0].key", "'email', and calls use that name"),
        ],
    )
    def test_computations(self, file: Path, computations: str, field: str, words: str) -> None:
        (problem,) = problems(file, f"workspace: a\ncomputations: {computations}\nconnections: []\n")
        assert f"computations{field}" == problem.field
        assert words in problem.message

    def test_one_mistake_in_a_computation_is_told_once(self, file: Path) -> None:
        text = GOOD.replace("name: Big spenders, kind: audience", "name: Big spenders, kind: audiences")
        assert ["computations[0].kind"] == [p.field for p in problems(file, text)]

    @pytest.mark.parametrize("name", ["Acme", "-a", "a_b", "a b", "ä", "a/b"])
    def test_connection_names_must_do_for_folders(self, file: Path, name: str) -> None:
        text = f"{HEAD}  - {{name: {name}, destination: lists, syncs: []}}\n"
        assert ["connections[0].name"] == [p.field for p in problems(file, text)]

    def test_connection_names_are_unique(self, file: Path) -> None:
        entry = "  - {name: one, destination: lists, syncs: []}\n"
        (problem,) = problems(file, HEAD + entry + entry)
        assert (7, "one", "is given twice; the first is in line 6") == (problem.line, problem.value, problem.message)

    def test_a_cap_above_the_destinations_says_both(self, file: Path) -> None:
        (problem,) = problems(file, GOOD.replace("600/m", "6001/m"))
        assert "6001/m" == problem.value
        assert "above the cap of Acme, which is 100/s" in problem.message
        assert "`cap_raised_by_vendor: true` if Acme granted you 6001/m" in problem.message

    def test_a_raised_cap_without_a_cap(self, file: Path) -> None:
        (problem,) = problems(file, GOOD.replace("cap: 600/m", "cap_raised_by_vendor: true"))
        assert "connections[0].cap_raised_by_vendor" == problem.field

    @pytest.mark.parametrize("cap", ["50", "0/s", "-1/s", "50/w", "s/50", "fast", "[50]", ""])
    def test_caps_of_another_form(self, file: Path, cap: str) -> None:
        (problem,) = problems(file, GOOD.replace("600/m", cap))
        assert "connections[0].cap" == problem.field
        assert "50/s, 600/m, 1000/h, 500000/d" in problem.message

    @pytest.mark.parametrize(
        ("setting", "words"),
        [
            ("endpoint: http://a.example", "should be text that matches '^https://'"),
            ("endpoint: [a]", "expected text, got a list"),
            ("endpoint:", "has no value; expected text"),
            ("endpoint: https://a.example\n      batch: 76", "should be a whole number <= 75"),
            ("endpoint: https://a.example\n      batch: many", "should be a whole number"),
            ("endpoint: https://a.example\n      region: eur", "is not allowed here"),
            ("endpoint: https://a.example\n      sandboxed: maybe", "should be true or false"),
            ("endpoint: https://a.example\n      sandboxed: yes\n      region: eu", "the sandbox is in the us region"),
            ("endpoint: https://a.example\n      tags: {a: b}", "expected a list"),
        ],
    )
    def test_settings(self, file: Path, setting: str, words: str) -> None:
        (problem,) = connection(file, f"    settings:\n      api_key: ${{A}}\n      {setting}\n    syncs: []\n")
        assert words in problem.message

    @pytest.mark.parametrize(
        ("text", "field", "words"),
        [
            ("{computation: plan}", "computation", "is not a computation"),
            ("{computation: big_spenders}, {computation: Big spenders}", "computation", "has a sync in line 6 already"),
            ("{computation: big_spenders, as: []}", "as", "is empty"),
            ("{computation: big_spenders, identifiers: {emial: all}}", "identifiers.emial", "not an identifier"),
            ("{computation: big_spenders, identifiers: {email: newest}}", "identifiers.email", "is not allowed"),
            ("{computation: big_spenders, enrich: ['']}", "enrich[0]", "is empty"),
            ("{computation: big_spenders, enrich: [big_spenders]}", "enrich", "own key"),
            ("{computation: big_spenders, as: track, events: {entered: ' '}}", "events.entered", "is empty"),
            ("{computation: big_spenders, historical: never}", "historical", "should be true or false"),
            ("big_spenders", "", "expected `key: value` entries"),
            ("{computation: big_spenders, as: list}", "as", "is not a form that Acme takes"),
            ("{computation: big_spenders, as: [track, track]}", "as[1]", "is given twice"),
            ("{computation: big_spenders, as: [identfy]}", "as[0]", "is no form"),
            ("{computation: big_spenders, name: a b}", "name", "should have only"),
            ("{computation: big_spenders, name: x}, {computation: big_spenders, name: x}", "name", "is given twice"),
            (
                "{computation: big_spenders, name: total_revenue_180_days}, {computation: total_revenue_180_days}",
                "syncs[1].computation",
                "is the name of the sync in line 6",
            ),
            ("{computation: big_spenders, send_as: email}", "send_as", "calls use already"),
            ("{computation: big_spenders, send_as: Email}", "send_as", "calls use already"),
            ("{computation: big_spenders, send_as: 'a '}", "send_as", "a space at its start"),
            ("{computation: big_spenders, send_as_was: big_spenders}", "send_as_was", "is the name that it has now"),
            ("{computation: big_spenders, send_as: a, send_as_was: a}", "send_as_was", "is the name that it has now"),
            (
                "{computation: big_spenders, send_as: x}, {computation: total_revenue_180_days, send_as: x}",
                "syncs[1].send_as",
                "give one of them another `send_as`",
            ),
            (
                "{computation: big_spenders}, {computation: big_spenders, name: other}",
                "syncs[1].computation",
                "give one of them another `send_as`",
            ),
            ("{computation: big_spenders, events: {entered: In}}", "events", "or add `track` to `as`"),
            (
                "{computation: big_spenders, as: track, events: {computed: In}}",
                "events.computed",
                "this is an audience",
            ),
            ("{computation: big_spenders, as: track, enrich: [plan]}", "enrich", "sends only `track`"),
            ("{computation: big_spenders, enrich: [plan, plan]}", "enrich", "is given twice"),
            ("{computation: big_spenders, enrich: [Big spenders]}", "enrich", "own key"),
            ("{computation: big_spenders, enrich: [vip], send_as: vip}", "enrich", "own key"),
            (
                "{computation: big_spenders, identifiers: {email: none, user_id: attach}}",
                "identifiers",
                "leaves nobody to tell. Acme understands user_id and email",
            ),
        ],
    )
    def test_syncs(self, file: Path, text: str, field: str, words: str) -> None:
        problem = sync(file, text)[-1]
        assert problem.field.endswith(field)
        assert words in problem.message

    @pytest.mark.parametrize(
        ("text", "field", "words"),
        [
            ("{computation: total_revenue_180_days}", "computation", "lists are for audiences only"),
            ("{computation: big_spenders, as: track}", "as", "is not a form that Lists takes"),
            ("{computation: big_spenders, events: {entered: In}}", "events", "this sync sends none; remove it"),
            ("{computation: big_spenders, historical: true}", "historical", "takes no historical data"),
        ],
    )
    def test_syncs_to_lists(self, file: Path, text: str, field: str, words: str) -> None:
        (problem,) = sync(file, text, "lists")
        assert f"connections[0].syncs[0].{field}" == problem.field
        assert words in problem.message

    def test_a_trait_is_no_list(self, file: Path) -> None:
        (problem,) = problems(file, with_sync("both", "{computation: total_revenue_180_days, as: list}"))
        assert "is for audiences only, and this is a computed trait" == problem.message
        assert ("identify", "track") == problem.allowed

    @pytest.mark.parametrize(
        ("destination", "written", "meant"),
        [
            ("acme", "Email", "email"),
            ("acme", "userId", "user_id"),
            ("lists", "E-Mail", "email"),
            ("lists", "IOS_IDFA", "ios.idfa"),
            ("lists", "crm_id", ""),
            ("acme", "emial", "email"),
            ("acme", "phone", ""),
        ],
    )
    def test_types_of_identifiers(self, file: Path, destination: str, written: str, meant: str) -> None:
        text = f"{{computation: big_spenders, identifiers: {{{written}: last}}}}"
        if (destination, written) == ("lists", "crm_id"):
            assert {"crm_id": "last"} == loaded(file, with_sync("lists", text)).connections[0].syncs[0].identifiers
            return
        (problem,) = sync(file, text, destination)
        assert (written, meant) == (problem.value, problem.suggestion)

    def test_a_connection_that_leaves_nobody_says_so_once(self, file: Path) -> None:
        text = GOOD.replace("    cap: 600/m", "    identifiers: {email: none, user_id: none}")
        (problem,) = problems(file, text.replace(", identifiers: {email: last}", ""))
        assert "connections[0].identifiers" == problem.field

    def test_a_connection_that_is_still_there_was_nothing_else(self, file: Path) -> None:
        (problem,) = problems(file, GOOD.replace("    cap: 600/m", "    was: lists"))
        assert "connections[0].was" == problem.field
        assert "is the name of a connection in line 18" in problem.message
        (problem,) = problems(file, GOOD.replace("    cap: 600/m", "    was: acme-eu"))
        assert "connections[0].was" == problem.field

    def test_two_connections_were_not_the_same(self, file: Path) -> None:
        entries = "".join(f"  - {{name: {name}, destination: lists, was: old, syncs: []}}\n" for name in "ab")
        (problem,) = problems(file, HEAD + entries)
        assert ("connections[1].was", "is given twice; the first is in line 6") == (problem.field, problem.message)
