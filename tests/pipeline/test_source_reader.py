"""The `sources` of a workspace file: what they mean when they are right, and what is said of every mistake."""

from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from pipeline.problems import WorkspaceError
from pipeline.workspace import load, missing_secrets
from schemas.secret import Secret
from schemas.workspace import Source
from schemas.workspace_schema import json_schema
from transforms.destinations import catalogue

HEAD = """\
workspace: shop
computations:
  - {name: Vip, kind: audience}
  - {name: Score, kind: trait}
  - {name: Big accounts, kind: audience, level: account}
connections: []
sources:
"""
GOOD = """\
  - name: customers
    url: ${WAREHOUSE_URL}
    query: SELECT 1
    key: id
    at: changed
    identifiers: {user_id: id, email: [mail, mails]}
    traits: {Score: score, plan: plan}
    audiences: {Vip: is_vip}
    account: company
    on_missing: forget
    max_lost: 5%
    every: 15m
"""


def loaded(path: Path, text: str) -> tuple[Source, ...]:
    file = path / "workspace.yaml"
    file.write_text(HEAD + text)
    return load(str(file), environment={}).sources


def mistakes(path: Path, text: str) -> list[str]:
    """Each as `line: field: message`."""
    with pytest.raises(WorkspaceError) as raised:
        loaded(path, text)
    return [str(problem).partition("workspace.yaml:")[2] for problem in raised.value.problems]


def source(more: str, place: str = "file: a.csv", says: str = "traits: {plan: plan}") -> str:
    """A source with this beside what it needs."""
    return f"  - {{name: one, key: id, {place}, {says}{', ' if more else ''}{more}}}\n"


def test_a_source_is_read(tmp_path: Path) -> None:
    expected = Source(
        name="customers",
        key="id",
        url=Secret("${WAREHOUSE_URL}"),
        query="SELECT 1",
        at="changed",
        identifiers={"user_id": ("id",), "email": ("mail", "mails")},
        traits={"score": "score", "plan": "plan"},
        audiences={"vip": "is_vip"},
        account="company",
        on_missing="forget",
        max_lost=0.05,
        every=900.0,
    )
    assert (expected,) == loaded(tmp_path, GOOD)
    assert loaded(tmp_path, source("")) == (Source(name="one", key="id", file="a.csv", traits={"plan": "plan"}),)


def test_a_url_without_a_value_is_told(tmp_path: Path) -> None:
    loaded(tmp_path, GOOD)
    workspace = load(str(tmp_path / "workspace.yaml"), environment={})
    (problem,) = missing_secrets(workspace, environment={})
    assert ("sources[0].url", "customers needs the environment variable WAREHOUSE_URL") == (
        problem.field,
        problem.message,
    )
    assert [] == missing_secrets(workspace, environment={"WAREHOUSE_URL": "sqlite://"})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (source("", place="query: SELECT 1"), "needs one of `file`, `duckdb` and `url`"),
        (source("", place="duckdb: a.db"), "needs a `query` beside `duckdb`"),
        (source("query: SELECT 1"), "one.query: goes with `duckdb` or `url`".replace("one", "sources[0]")),
        (source("duckdb: a.db, query: SELECT 1"), "sources[0].duckdb: stands beside `file`"),
        (source("", place="file: a.xlsx"), '"a.xlsx" should end in one of .parquet, .csv'),
        (source("", place="file: s3://a/b.csv"), "is no file of this machine"),
        (source("", place="url: 'postgresql://me:secret@db/x', query: x"), "must not hold the secret itself"),
        (source("", says="at: changed"), "says nothing of a person"),
        (source("", says="traits: {vip: x}"), '"vip" is an audience; write it under `audiences`'),
        (source("", says="audiences: {score: x}"), '"score" is a trait; write it under `traits`'),
        (source("", says="audiences: {vips: x}"), "is not a computation of this workspace"),
        (source("", says="audiences: {big_accounts: x}"), "is of accounts; a source says something of people only"),
        (source("", says="audiences: {vip: x, Vip: y}"), "is given twice"),
        (source("", says="traits: {score: x, Score: y}"), "is given twice"),
        (source("", says="identifiers: {userId: id}"), 'did you mean "user_id"?'),
        (source("", says="identifiers: {email: []}"), "is an empty list; expected a column"),
        (source("max_lost: 0.2"), "should be a share from 0% to 100%, like 20%"),
        (source("max_lost: 120%"), "should be a share from 0% to 100%, like 20%"),
        (source("on_missing: delete"), "Allowed: leave, keep, forget"),
        (source("every: 10"), "should be a time from 1s to 30d, like 15m"),
        (source("every: 0s"), "should be a time from 1s to 30d, like 15m"),
        (source("every: 31d"), "should be a time from 1s to 30d, like 15m"),
        (source("often: 10m"), "is not a known key"),
        (source("") + source(""), '"one" is given twice; the first is in line 8'),
        ("  - {name: A b, key: id, file: a.csv, account: x}\n", 'did you mean "a-b"?'),
        ("  - {name: one, file: a.csv, account: x}\n", "sources[0].key: is missing"),
        ("  customers: {}\n", "expected a list"),
    ],
)
def test_a_mistake_is_told_with_its_place(tmp_path: Path, text: str, expected: str) -> None:
    (mistake,) = mistakes(tmp_path, text)
    assert expected in mistake
    assert mistake.startswith(("8: ", "9: "))
    assert "secret@" not in mistake


@pytest.mark.parametrize(
    ("text", "right"),
    [(GOOD, True), (source("", place="file: [a]"), False), (source("max_lost: 2"), False), (source("every: 2"), False)],
)
def test_the_json_schema_knows_sources(text: str, right: bool) -> None:
    file: Any = yaml.safe_load(HEAD + text)
    validator = jsonschema.Draft202012Validator(json_schema(catalogue()))
    assert right is validator.is_valid(file)
