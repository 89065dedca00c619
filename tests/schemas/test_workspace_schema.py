"""The schema for editors agrees with what is loaded."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from pipeline.problems import WorkspaceError
from pipeline.workspace import load
from schemas.workspace_schema import json_schema
from tests.pipeline.fakes import DESTINATIONS
from transforms.destinations import catalogue

ACME = "{name: a, destination: acme, settings: {endpoint: 'https://a', api_key: '${A}'}, syncs: []}"


def accepts(document: Any) -> bool:
    return bool(Draft202012Validator(json_schema(DESTINATIONS)).is_valid(document))


def loads(tmp_path: Path, text: str) -> bool:
    file = tmp_path / "workspace.yaml"
    file.write_text(text)
    try:
        load(str(file), DESTINATIONS, {"SET": "1"})
    except WorkspaceError:
        return False
    return True


def test_it_is_a_schema() -> None:
    Draft202012Validator.check_schema(json_schema(DESTINATIONS))
    Draft202012Validator.check_schema(json_schema(catalogue()))


@pytest.mark.parametrize(
    ("connection", "right"),
    [
        (ACME, True),
        (ACME.replace("destination: acme", "destination: acme-classic"), True),
        (ACME.replace("api_key", "cap: 50/s, api_key"), False),
        (ACME.replace("syncs", "cap: 50/s, syncs"), True),
        (ACME.replace("syncs", "cap: 50/w, syncs"), False),
        (ACME.replace("syncs: []", "syncs: [{computation: big}]"), True),
        (ACME.replace("syncs: []", "syncs: [{computation: big, as: identify, enrich: plan}]"), True),
        (ACME.replace("syncs: []", "syncs: [{computation: big, as: list}]"), False),
        (ACME.replace("syncs: []", "syncs: [{computation: big, as: []}]"), False),
        (
            ACME.replace("syncs: []", "syncs: [{computation: big, name: big-de, send_as: Big (DE), send_as_was: b}]"),
            True,
        ),
        (ACME.replace("syncs: []", "syncs: [{computation: big, name: big de}]"), False),
        (ACME.replace("syncs: []", "syncs: [{computation: big, where: {a: 1, b: [x, null], c: {not: x}}}]"), True),
        (ACME.replace("syncs: []", "syncs: [{computation: big, where: {a: {not: [x, 1.5, true]}}}]"), True),
        (ACME.replace("syncs: []", "syncs: [{computation: big, where: {a: {is: x}}}]"), False),
        (ACME.replace("syncs: []", "syncs: [{computation: big, where: {a: []}}]"), False),
        (ACME.replace("syncs: []", "syncs: [{computation: big, where: {has: [email, phone]}}]"), True),
        (ACME.replace("syncs: []", "syncs: [{computation: big, where: {has: {not: email}}}]"), False),
        (ACME.replace("syncs", "where: {consent: true}, identifiers: {email: attach}, was: b, syncs"), True),
        (ACME.replace("syncs", "was: B, syncs"), False),
        (ACME.replace("syncs: []", "syncs: [{computation: big, as: [identify, track]}]"), True),
        (ACME.replace("syncs: []", "syncs: [{computation: big, as: group}]"), False),
        (ACME.replace("syncs: []", "syncs: [{computation: big, identifiers: {email: last}}]"), True),
        (ACME.replace("syncs: []", "syncs: [{computation: big, identifiers: {email: newest}}]"), False),
        (ACME.replace("api_key", "batch: 10, api_key"), True),
        (ACME.replace("api_key", "batch: '${SET}', api_key"), True),
        (ACME.replace("api_key", "batch: 100, api_key"), False),
        (ACME.replace("api_key", "account: 12, api_key"), True),
        (ACME.replace("api_key", "region: eu, tags: a, api_key"), True),
        (ACME.replace("api_key", "region: asia, api_key"), False),
        (ACME.replace("api_key", "api_kye"), False),
        (ACME.replace("'${A}'", "hunter2"), False),
        (ACME.replace("name: a", "name: A"), False),
        ("{name: a, destination: acme, syncs: []}", False),
        ("{name: a, destination: nobody, syncs: []}", False),
        ("{name: a, destination: lists, syncs: [{computation: big}]}", True),
        ("{name: a, destination: lists, syncs: [{computation: big, as: track}]}", False),
        ("{name: a, destination: lists, syncs: [{computation: big, as: list}]}", True),
        ("{name: a, destination: lists, syncs: [{computation: big, events: {entered: In}}]}", False),
        ("{name: a, destination: both, syncs: [{computation: big, as: [list, identify]}]}", True),
        ("{name: a, destination: lists, settings: {headers: {auth: '${A}'}}, syncs: []}", True),
    ],
)
def test_it_takes_what_is_loaded_and_refuses_the_rest(tmp_path: Path, connection: str, right: bool) -> None:
    text = f"workspace: shop\ncomputations: [{{name: Big, kind: audience}}]\nconnections: [{connection}]\n"
    assert right == accepts(yaml.safe_load(text))
    assert right == loads(tmp_path, text)


@pytest.mark.parametrize(
    ("item", "right"),
    [
        ("{slack: '${SET}'}", True),
        ("{slack: 'https://hooks.slack.example/T/B/x'}", False),
        ("{webhook: 'https://ops.example/in?key=${SET}', after: 1.5h}", True),
        ("{webhook: '${SET}', after: 90s}", True),
        ("{command: [./page-me, ops]}", True),
        ("{command: ./page-me}", True),
        ("{after: 10m}", False),
        ("{}", False),
        ("{slack: '${SET}', command: ./page-me}", False),
        ("{command: ./page-me, after: 10}", False),
        ("{command: ./page-me, after: soon}", False),
        ("{command: ./page-me, every: 10m}", False),
        ("{mail: ops@shop.example}", False),
    ],
)
def test_who_hears_of_trouble_is_right_for_both(tmp_path: Path, item: str, right: bool) -> None:
    text = f"workspace: shop\ncomputations: []\nconnections: []\non_trouble:\n  - {item}\n"
    assert (right, right) == (accepts(yaml.safe_load(text)), loads(tmp_path, text))
