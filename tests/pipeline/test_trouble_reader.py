"""`on_trouble` of the workspace: what may be written, and what mistakes are called."""

from pathlib import Path

import pytest

from pipeline.problems import WorkspaceError
from pipeline.trouble_reader import address_of
from pipeline.workspace import load, missing_secrets
from schemas.secret import Secret
from schemas.workspace import OnTrouble, Workspace


def loaded(tmp_path: Path, *items: str) -> Workspace:
    file = tmp_path / "workspace.yaml"
    lines = "".join(f"  - {item}\n" for item in items)
    file.write_text(f"workspace: shop\ncomputations: []\nconnections: []\non_trouble:\n{lines}")
    return load(str(file), environment={"SET": "x"})


def mistake(tmp_path: Path, item: str) -> tuple[int | None, str, str]:
    """Line, field and message of the one mistake."""
    with pytest.raises(WorkspaceError) as error:
        loaded(tmp_path, item)
    (problem,) = error.value.problems
    return problem.line, problem.field, problem.message


def test_each_way_is_read_as_it_is_written(tmp_path: Path) -> None:
    items = ("slack: ${SLACK_URL}", "{webhook: 'https://o.example/?key=${SET}', after: 1h}", "command: [./page, ops]")
    assert loaded(tmp_path, *items).on_trouble == (
        OnTrouble(slack=Secret("${SLACK_URL}")),
        OnTrouble(webhook="https://o.example/?key=${SET}", after=3600.0),  # its secret is not in it
        OnTrouble(command=("./page", "ops")),
    )


@pytest.mark.parametrize(
    ("item", "field", "words"),
    [
        ("slack: https://hooks.slack.example/T/x", "slack", "must not hold the secret itself"),
        ("webhook: ops.example", "webhook", "should be the address of an http or https server"),
        ("webhook: 'ftp://ops.example'", "webhook", "should be the address of an http or https server"),
        ("webhook: 'http://ops.example:port/'", "webhook", "should be the address of an http or https server"),
        ("{command: ./page, after: 10}", "after", "should be a time like 90s, 10m or 2h"),
        ("{command: ./page, after: 0m}", "after", "should be a time like 90s, 10m or 2h"),
        ("{command: ./page, slack: '${S}'}", "command", "stands beside `slack`; give each an item of its own"),
        ("after: 10m", "", "tells nobody; write one of `webhook: URL`"),
        ("command: []", "", "tells nobody; write one of `webhook: URL`"),
        ("mail: ops@shop.example", "mail", "is not a known key"),
        ("slack:", "", "tells nobody; write one of `webhook: URL`"),
    ],
)
def test_a_mistake_has_its_line_and_field(tmp_path: Path, item: str, field: str, words: str) -> None:
    line, where, message = mistake(tmp_path, item)
    assert (5, f"on_trouble[0].{field}".rstrip(".")) == (line, where)
    assert message.startswith(words)


def test_variables_without_a_value_are_named(tmp_path: Path) -> None:
    items = ("slack: ${SLACK_URL}", "webhook: 'https://o.example/${A}/${B}'", "webhook: ${C}", "command: ./page")
    workspace = loaded(tmp_path, *items)
    problems = missing_secrets(workspace, environment={"B": "x", "C": "o.example"})
    assert [
        ("on_trouble[0].slack", "on_trouble needs the environment variable SLACK_URL"),
        ("on_trouble[1].webhook", "on_trouble needs the environment variable A"),
        ("on_trouble[2].webhook", "with C of the environment, it is not the address of an http or https server"),
    ] == [(problem.field, problem.message) for problem in problems]
    whole = {"SLACK_URL": "https://hooks.slack.example/T", "A": "1", "B": "2", "C": "http://o.example:8080"}
    assert [] == missing_secrets(workspace, environment=whole)
    assert "https://o.example/1/2" == address_of(workspace.on_trouble[1], whole)
